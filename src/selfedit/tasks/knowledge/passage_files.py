"""The records of a data file, in any of its accepted forms, each with its place in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfedit.errors import FormatError
from selfedit.storage.bounded import MAX_BYTES as MAX_DATA_BYTES
from selfedit.storage.bounded import BoundedReader, Unreadable, are_lines, json_value
from selfedit.tasks.knowledge.documents import read_document
from selfedit.tasks.knowledge.passage_forms import RECORD_FORM, BadRecord

_DATA = BoundedReader("the file", fix=f"correct it there; {RECORD_FORM}", unique=True)


def json_records(path: Path) -> Iterator[tuple[str, Any]]:
    """The place and content of each record of a JSON file, in any of the accepted forms."""
    text = read_document(path, max_bytes=MAX_DATA_BYTES)
    if are_lines(text):
        # Lines under another name, as pandas and the `datasets` library write them.
        return jsonl_records(path)
    data = _DATA.parse_json(text, path)
    if isinstance(data, dict) and "data" in data:
        return _nested_records(data["data"], path)
    items = [data] if isinstance(data, dict) else _record_list(data, path)
    return ((f"record {number}", item) for number, item in enumerate(items, 1))


def _nested_records(data: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """The paragraphs of SQuAD's own form, each with the title of its article."""
    for number, article in enumerate(_record_list(data, path), 1):
        article_name = f"article {number}"
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if not isinstance(paragraphs, list):
            # As a record, so that it is listed among the bad ones instead of ending the reading.
            yield article_name, BadRecord("'paragraphs' is missing or not a list")
            continue
        title = {"title": article["title"]} if "title" in article else {}
        for index, paragraph in enumerate(paragraphs, 1):
            yield (
                f"{article_name}, paragraph {index}",
                title | paragraph if isinstance(paragraph, dict) else paragraph,
            )


def jsonl_records(path: Path) -> Iterator[tuple[str, Any]]:
    """The place and content of each line that is not blank."""
    for number, line in enumerate(read_document(path, max_bytes=MAX_DATA_BYTES).split("\n"), 1):
        try:
            if line.strip():
                yield f"line {number}", json_value(line, unique=True)
        except Unreadable as error:
            column = error.location.partition(", ")[2]
            yield (
                f"line {number}, {column}" if column else f"line {number}",
                BadRecord(error.reason),
            )


def _record_list(data: Any, path: Path) -> list[Any]:
    if not isinstance(data, list):
        raise FormatError("the file does not hold a list of records", where=path, fix=RECORD_FORM)
    return data
