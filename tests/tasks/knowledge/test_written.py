"""Files of self-edits that somebody else wrote, good and bad ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from selfedit.errors import DataError, FormatError
from selfedit.tasks.knowledge.written import read_self_edits
from selfedit.tasks.task import Context

VELL = Context("vell", "Vell", "The harbour  of Vell\nhas nine piers.")
TARN = Context("tarn", "Tarn", "A lake.")


def test_the_published_form_is_found_by_its_text(tmp_path: Path) -> None:
    path = tmp_path / "edits.json.gz"
    record = {
        "title": "?",
        "context": "The harbour of Vell has nine piers.",
        "completions": ["a", "b", "c"],
    }
    with gzip.open(path, "wt") as file:
        json.dump([record], file)
    assert read_self_edits(path).of([VELL], 2) == {"vell": ["a", "b"]}


def test_own_form_by_id_adds_up_over_lines(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    path.write_text('{"id": "tarn", "self_edits": ["a"]}\n\n{"id": "tarn", "self_edits": ["b"]}\n')
    assert read_self_edits(path).of([TARN], 2) == {"tarn": ["a", "b"]}


def test_a_passage_without_enough_is_named(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    path.write_text('{"id": "tarn", "self_edits": ["a"]}\n')
    with pytest.raises(DataError, match="1 of 2 passages have fewer than 1") as caught:
        read_self_edits(path).of([TARN, VELL], 1)
    assert "vell (0)" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{}", "list of records"),
        ("a.json", "[1]", "record 1"),
        ("a.json", '[{"context": "x"}]', "record 1"),
        ("a.json", '[{"context": "x", "completions": [1]}]', "record 1"),
        ("a.jsonl", '{"id": "x", "self_edits": ["a"]}\n{', "line 2"),
        ("a.json", "[" * 100_000, "JSON"),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FormatError) as caught:
        read_self_edits(tmp_path / name)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"no gzip at all", gzip.compress(b"[]", mtime=0)[:-6], gzip.compress(b"\xff", mtime=0)],
)
def test_a_file_that_is_no_gzip_or_no_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json.gz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        read_self_edits(tmp_path / "a.json.gz")
