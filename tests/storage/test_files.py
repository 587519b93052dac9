import json
import math
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfedit.errors import StorageFull
from selfedit.storage.files import (
    canonical_json,
    fingerprint,
    folder_atomic,
    hash_file,
    hash_folder,
    write_atomic,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@given(JSON)
def test_canonical_json_reads_back_and_forgets_the_order(value):
    def turned(value):
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(list(value))}
        return tuple(map(turned, value)) if isinstance(value, list) else value

    assert json.loads(canonical_json(value)) == value
    assert canonical_json(turned(value)) == canonical_json(value)
    assert fingerprint(turned(value)) == fingerprint(value)


def test_canonical_json_takes_what_results_are_made_of():
    class Rule(Enum):
        BEST = "best"

    @dataclass
    class Mean:
        value: float
        n: int

    value = {
        "mean": Mean(np.float32(0.5), np.int64(3)), "nan": math.nan, "zero": -0.0, "rule": Rule.BEST, 3: Path("a/b"),
        "bool": np.bool_(True), "inf": np.float64(-math.inf),
    }  # fmt: skip
    assert json.loads(canonical_json(value)) == {
        "mean": {"value": 0.5, "n": 3}, "nan": None, "zero": 0.0, "rule": "best", "3": "a/b", "bool": True, "inf": None,
    }  # fmt: skip
    assert b'"zero": 0.0' in canonical_json(value)


@pytest.mark.parametrize("value", [{1, 2}, object(), b"x", {"a": [lambda: 0]}, {1: "a", "1": "b"}])
def test_canonical_json_refuses_what_has_no_one_text(value):
    with pytest.raises(TypeError):
        canonical_json(value)


def test_a_file_is_old_or_new(tmp_path):
    path = tmp_path / "results.json"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "not bytes")  # pyright: ignore[reportArgumentType]
    assert path.read_bytes() == b"old"
    write_atomic(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]
    assert path.read_bytes() == b"new"


def test_a_folder_is_old_or_new(tmp_path):
    path = tmp_path / "policy" / "round-1"
    for text in ("old", "new"):
        with folder_atomic(path) as new:
            assert not path.exists() or (path / "a").read_text() == "old"
            (new / "deep").mkdir()
            (new / "deep" / "b").write_text(text)
            (new / "a").write_text(text)
    with pytest.raises(KeyboardInterrupt), folder_atomic(path) as new:
        (new / "a").write_text("half")
        raise KeyboardInterrupt
    assert (path / "a").read_text() == "new" and (path / "deep" / "b").read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["round-1"]


def test_hashes_see_names_and_contents(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"1")
    assert (
        hash_file(tmp_path / "a" / "x")
        == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    )
    before = hash_folder(tmp_path)
    assert hash_folder(tmp_path / "a") != before
    (tmp_path / "a" / "x").write_bytes(b"2")
    assert hash_folder(tmp_path) != before
    (tmp_path / "a" / "x").write_bytes(b"1")
    assert hash_folder(tmp_path) == before


def test_no_room_leaves_the_old_and_nothing_else(tmp_path):
    """In a process of its own, since a limit on file size cannot be lifted again."""
    write_atomic(tmp_path / "results.json", b"old")
    program = textwrap.dedent(f"""
        import resource
        from pathlib import Path
        from selfedit.errors import StorageFull
        from selfedit.storage.files import folder_atomic, write_atomic
        from selfedit.run.metrics import Metrics
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        here, full = Path({str(tmp_path)!r}), 0
        try:
            write_atomic(here / "results.json", b"x" * 5000)
        except StorageFull as error:
            assert "results.json" in str(error) and error.exit_code == 4
            full += 1
        try:
            with folder_atomic(here / "policy") as new:
                (new / "weights").write_bytes(b"x" * 5000)
        except StorageFull:
            full += 1
        metrics = Metrics(here / "metrics.jsonl")
        metrics.append({{"n": 1}})
        try:
            metrics.append({{"n": "x" * 5000}}, once="long")
        except StorageFull:
            full += 1
        metrics.append({{"n": 2}})
        assert metrics.lines() == [{{"n": 1}}, {{"n": 2}}]
        print(full)
    """)
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("3\n", "")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["metrics.jsonl", "results.json"]
    assert (tmp_path / "results.json").read_bytes() == b"old"


def test_other_errors_pass_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "missing" / "file", b"")
    with pytest.raises(OSError) as caught:
        write_atomic(tmp_path, b"")
    assert not isinstance(caught.value, StorageFull)
