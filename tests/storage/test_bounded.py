"""Bounded readers: a value or one error of ours, whatever the bytes, in time that grows with the
file.
"""

import gzip
import json
import math
import os
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from selfedit.errors import DataError, FormatError, ModelFileError
from selfedit.storage import bounded
from selfedit.storage.bounded import (
    MAX_DEPTH,
    BoundedReader,
    Unreadable,
    files_below,
    json_value,
    toml_table,
)

READER = BoundedReader("the list", error=ModelFileError, fix="write it anew", max_bytes=1000)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**50), 10**50)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


@given(plain)
def test_what_json_writes_is_read_as_python_reads_it(value: Any) -> None:
    assert json_value(json.dumps(value)) == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (deep(MAX_DEPTH + 1), "nested more than 64 deep"),
        (deep(100_000), "nested more than 64 deep"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested more than 64 deep"),
        ("1" + "0" * 400, "more than 300 digits"),
        ("-1" + "0" * 5000, "more than 300 digits"),
        ("1e999", "too large"),
        ("NaN", "NaN"),
        ("[-Infinity]", "Infinity"),
        ('{"a": 1', "not valid JSON"),
        ("", "not valid JSON"),
    ],
)
def test_json_over_a_bound_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(ModelFileError) as caught:
        BoundedReader("the list", error=ModelFileError, fix="write it anew").json(path)
    assert reason in caught.value.what and str(caught.value.where).startswith(str(path))
    assert caught.value.fix == "write it anew"


def test_what_is_just_within_the_bounds() -> None:
    assert json_value(deep(MAX_DEPTH)) and json_value("1" * 300) == int("1" * 300)
    assert math.isinf(json_value("[1e999]", finite=False)[0])
    with pytest.raises(Unreadable, match="'b' is given twice"):
        json_value('{"a": 1, "b": {"b": 1, "b": 2}}', unique=True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = " + deep(70), "nested more than 64 deep"),
        ("x = " + deep(5000), "nested more than 64 deep"),
        ("a." * 60 + "b = {c.d.e.f.g.h.i.j = 1}", "nested more than 64 deep"),
        ("a." * 500_000 + "b = 1", "more than 64 parts"),
        ('"a" . ' * 500_000 + "b = 1", "more than 64 parts"),
        ("x = " + "9" * 5000, "more than 300 digits"),
        ("x = " + "9" * 400, "more than 300 digits"),
        ("x = \ny = 1", "line 1"),
    ],
)
def test_toml_over_a_bound_is_refused_at_once(text: str, reason: str) -> None:
    started = time.monotonic()
    with pytest.raises(Unreadable) as caught:
        toml_table(text)
    assert reason in caught.value.reason and time.monotonic() - started < 5


def test_dots_in_texts_and_long_lists_are_no_keys() -> None:
    table = toml_table('x = "' + "." * 200 + '"\ny = [' + "0.5, " * 300 + "]\n")
    assert table["x"] == "." * 200 and len(table["y"]) == 300


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_names_the_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "r.toml").write_bytes('name = "Größe"'.encode(encoding))
    assert READER.toml(tmp_path / "r.toml") == {"name": "Größe"}
    (tmp_path / "r.json").write_bytes('["Größe"]'.encode(encoding))
    assert READER.json(tmp_path / "r.json") == ["Größe"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'["Gr\xf6\xdfe"]', r"not valid UTF-8 \(byte 4\)"),
        (b"\xef\xbb\xbf\xff", r"not valid UTF-8 \(byte 3\)"),
        (b"\xff\xfea", "not valid UTF-16"),
        (b"x" * 1001, "more than 1,000 bytes"),
    ],
)
def test_what_is_no_text_or_too_long(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "r.json").write_bytes(data)
    with pytest.raises(ModelFileError, match=reason):
        READER.json(tmp_path / "r.json")


@pytest.mark.parametrize("name", ["nowhere", "x" * 300, "a\0b", "."])
def test_what_is_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match="the list cannot be read"):
        READER.json(tmp_path / name)


def test_gzip_files_of_several_members(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b"[1,") + gzip.compress(b" 2]") + b"\0" * 20)
    assert READER.json(path) == [1, 2]


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no gzip",
        packed(b"[1]")[:-6],
        packed(b"[1]") + b"more",
        packed(b"x" * 900)[:20],
        packed(b"[1]")[:10],
    ],
)
def test_a_damaged_gzip_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="cannot be read"):
        READER.json(path)


def test_every_damaged_byte_of_a_gzip_file_ends_in_our_error_or_the_content(tmp_path: Path) -> None:
    path, whole = tmp_path / "a.json.gz", packed(b'["a", "b"]' * 5 + b" " * 200)
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            assert READER.bytes(path) == gzip.decompress(whole)
        except ModelFileError:
            continue


def test_a_gzip_bomb_ends_at_the_bound(tmp_path: Path) -> None:
    path, squeeze = tmp_path / "a.json.gz", zlib.compressobj(9, wbits=31)
    path.write_bytes(b"".join(squeeze.compress(bytes(2**20)) for _ in range(200)) + squeeze.flush())
    with pytest.raises(ModelFileError, match="more than 1,000 bytes"):
        READER.bytes(path)


class Entry(BaseModel):
    name: str
    size: int


def test_types_are_checked_and_the_first_wrong_ones_named() -> None:
    assert READER.shape([{"name": "a", "size": 2}], list[Entry], "here") == [
        Entry(name="a", size=2)
    ]
    with pytest.raises(ModelFileError, match=r"0\.size.*integer") as caught:
        READER.shape([{"name": "a", "size": "x"}, 3], list[Entry], "here")
    assert caught.value.where == "here" and "1: " in caught.value.what


def test_lines_are_numbered_and_blank_ones_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    assert list(READER.json_lines("1\n\n[2]\n", path)) == [
        (f"{path}, line 1", 1),
        (f"{path}, line 3", [2]),
    ]
    with pytest.raises(ModelFileError) as caught:
        list(READER.json_lines("1\n[2,\n", path))
    assert caught.value.where == f"{path}, line 2, column 4"


def test_no_other_kind_is_raised_by_default(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        BoundedReader("the list").text(tmp_path / "nowhere")


def test_a_folder_of_anything_is_read_and_a_whole_disk_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    for name in ("b.json", "below/a.json", "c.txt"):
        (tmp_path / name).write_text("[]")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    (tmp_path / "nowhere.json").symlink_to("nowhere")
    (tmp_path / "itself").symlink_to(tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path, "*.json")]
    assert names == ["b.json", "below/a.json"]
    monkeypatch.setattr(bounded, "MAX_ENTRIES", 7)
    with pytest.raises(DataError, match="more than 7 files and folders"):
        files_below(tmp_path)
