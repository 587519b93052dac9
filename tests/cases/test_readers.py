"""Files that nobody vouches for, through the reader each is meant for: one error of ours, never
another exception.
"""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from selfedit.config import read_settings
from selfedit.documents.adapt import read_about
from selfedit.documents.library_state import read_library
from selfedit.errors import DataError, UsageError
from selfedit.grading.labels import Label, read_labels
from selfedit.lm.lora import Adapter
from selfedit.run.folder import RunFolder
from selfedit.tasks.arc.dataset import load_tasks
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.written import read_self_edits

DEEP = "[" * 5000 + "]" * 5000
LONG = "1" + "0" * 400
ADAPTER = '{"peft_type": "LORA", "r": 2, "lora_alpha": %s}'
LABEL = '{"question": "q", "gold": "g", "pred": "p", %s}'


def flipped(text: str) -> bytes:
    packed = bytearray(gzip.compress(text.encode()))
    packed[14] ^= 0xFF
    return bytes(packed)


def folder_of(read: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: read(path.parent)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "labels": ("l.jsonl", read_labels),
    "self-edits": ("e.json", read_self_edits),
    "passages": ("p.json", load_contexts),
    "lines": ("p.jsonl", load_contexts),
    "tasks": ("t.json", load_tasks),
    "recipe": ("r.toml", read_settings),
    "adapter": ("adapter_config.json", folder_of(Adapter.load)),
    "run": ("run.json", folder_of(RunFolder.read)),
    "library": ("library.json", folder_of(read_library)),
    "about": ("selfedit.json", folder_of(read_about)),
}
HOSTILE: dict[str, bytes] = {
    "nested": DEEP.encode(),
    "nested in a key": ('{"a": ' + DEEP + "}").encode(),
    "a long number": LONG.encode(),
    "a number": b"1",
    "half a file": b'{"documents": [',
    "no text": b"\xff\xfe\x00\xd8",
    "bytes": bytes(range(256)),
    "cut gzip under another name": gzip.compress(b"[]")[:12],
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name, read", READERS.values(), ids=READERS)
def test_every_reader_ends_in_one_error(
    tmp_path: Path, name: str, read: Callable[[Path], object], hostile: bytes
) -> None:
    (tmp_path / name).write_bytes(hostile)
    with pytest.raises(DataError):
        read(tmp_path / name)


@pytest.mark.parametrize(
    "name, read", [("l.jsonl.gz", read_labels), ("e.json.gz", read_self_edits)]
)
def test_a_damaged_gzip_file(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    (tmp_path / name).write_bytes(flipped("x" * 200))
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    "verdict", [f'"label": {LONG}', f'"votes_yes": {LONG}, "votes": 1', '"label": [1]']
)
def test_an_impossible_verdict(tmp_path: Path, verdict: str) -> None:
    (tmp_path / "l.jsonl").write_text(LABEL % verdict)
    with pytest.raises(DataError):
        read_labels(tmp_path / "l.jsonl")


@pytest.mark.parametrize("alpha", [LONG, "[1]", '"16"', "NaN", "-1", "null", DEEP])
def test_an_impossible_adapter(tmp_path: Path, alpha: str) -> None:
    (tmp_path / "adapter_config.json").write_text(ADAPTER % alpha)
    with pytest.raises(DataError):
        Adapter.load(tmp_path)


@pytest.mark.parametrize(
    "entry",
    [
        {"name": 1},
        {"name": "a", "version": "v", "adapter": "a", "passages": "many", "recall": {}},
        [[]],
        None,
    ],
)
def test_a_library_of_other_types(tmp_path: Path, entry: object) -> None:
    (tmp_path / "library.json").write_text(json.dumps({"documents": [entry]}))
    with pytest.raises(DataError, match="the library's state cannot be read"):
        read_library(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_recipes_and_labels_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "r.toml").write_bytes("seed = 7\n".encode(encoding))
    assert read_settings(tmp_path / "r.toml").seed == 7
    (tmp_path / "l.jsonl").write_bytes((LABEL % '"label": true').encode(encoding))
    assert read_labels(tmp_path / "l.jsonl") == [Label("q", "g", "p", 1.0)]


def test_what_is_packed_is_known_by_its_content(tmp_path: Path) -> None:
    packed = gzip.compress((LABEL % '"label": true').encode())
    for name in ("l.jsonl", "L.JSONL.GZ"):
        (tmp_path / name).write_bytes(packed)
        assert len(read_labels(tmp_path / name)) == 1
    (tmp_path / "r.toml").write_bytes(gzip.compress(b"seed = 7"))
    assert read_settings(tmp_path / "r.toml").seed == 7


EDITS = '{"id": "a", "self_edits": ["x"]}'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("e.json", f"{EDITS}\n{EDITS}\n"),
        ("E.JSONL", f"{EDITS}\n\n{EDITS}"),
        ("e.jsonl", f"[{EDITS}, {EDITS}]"),
        ("e.ndjson", f"\n{EDITS}\n{EDITS}"),
    ],
)
def test_lines_and_lists_of_self_edits_by_any_name(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert len(read_self_edits(tmp_path / name).records) == 2


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("e.json", '[{"id": "a", "self_edits": ["x"], "self_edits": ["y"]}]', "self_edits"),
        ("l.jsonl", LABEL % '"label": true, "label": false', "label"),
        ("l.json", "[" + LABEL % '"label": true, "label": false' + "]", "label"),
    ],
)
def test_one_of_two_is_not_lost(tmp_path: Path, name: str, text: str, key: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f"'{key}' is given twice"):
        (read_self_edits if name == "e.json" else read_labels)(tmp_path / name)


def test_a_recipe_of_wrong_names(tmp_path: Path) -> None:
    keys = [f'"{name}" = 1' for name in ("\\u001b[31m", "a" * 10**5, *map(str, range(3000)))]
    (tmp_path / "r.toml").write_text("\n".join(keys))
    with pytest.raises(UsageError, match="and 2982 more") as caught:
        read_settings(tmp_path / "r.toml")
    assert len(str(caught.value)) < 5000 and "\x1b" not in str(caught.value)
