"""Files of self-edits that somebody else wrote: the published ones, or one's own.

A record names a passage by its text or its id and holds the self-edits of it:
``{"context": "...", "completions": ["...", "..."]}`` (the published form; ``self_edits`` does as
well) or ``{"id": "...", "self_edits": [...]}``. A ``.json`` file is a list of them, a ``.jsonl``
file has one a line; either may be gzipped (``.json.gz``). Several records of one passage add up.
The texts are a model's: they are read as text only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from selfedit.errors import DataError, FormatError
from selfedit.storage.bounded import BoundedReader, are_lines
from selfedit.storage.files import hash_file
from selfedit.tasks.task import Context

_RECORD_FORM = (
    'a record looks like {"context": "the passage", "self_edits": ["...", "..."]}, or has "id" for'
    ' "context"'
)
_LISTED_SHORT = 3
_RECORDS = BoundedReader("the file of self-edits", fix=_RECORD_FORM, max_bytes=2**30, unique=True)


@dataclass(frozen=True)
class SelfEditFile:
    """What a file of self-edits holds.

    Attributes:
        path: the file.
        records: as they stand in it.
        sha256: of its bytes, as they are on the disk.
    """

    path: Path
    records: tuple[Mapping[str, Any], ...]
    sha256: str

    def of(self, contexts: Sequence[Context], samples: int) -> dict[str, list[str]]:
        """The first ``samples`` self-edits of each context, by its id.

        Raises:
            DataError: a context has fewer.
        """
        texts = {name: every[:samples] for name, every in self._every(contexts).items()}
        if short := [c for c in contexts if len(texts[c.id]) < samples]:
            what = (
                f"{len(short)} of {len(contexts)} passages have fewer than {samples} self-edits in"
                " the file"
            )
            places = ", ".join(f"{c.id} ({len(texts[c.id])})" for c in short[:_LISTED_SHORT])
            fix = (
                "add some (a passage is found by its text or its id), or ask for fewer samples;"
                f" {_RECORD_FORM}"
            )
            raise DataError(what, where=f"{self.path}: {places}", fix=fix)
        return texts

    def fewest(self, contexts: Sequence[Context]) -> int:
        """How many self-edits each of these contexts has at the least.

        Raises:
            DataError: one has none.
        """
        self.of(contexts, 1)
        return min(map(len, self._every(contexts).values()))

    def _every(self, contexts: Sequence[Context]) -> dict[str, list[str]]:
        by_passage: dict[str, list[str]] = {}
        for record in self.records:
            by_passage.setdefault(_name(record), []).extend(_texts(record))
        return {
            # By text first; an id may be another data set's.
            c.id: by_passage.get(_by_text(c.text)) or by_passage.get(f"id {c.id}") or []
            for c in contexts
        }


def read_self_edits(path: str | Path, *, fix: str = _RECORD_FORM) -> SelfEditFile:
    """Read a file of self-edits.

    Args:
        path: the file.
        fix: what to say to someone who does not have it.

    Raises:
        DataError: it is not there or cannot be read.
        FormatError: a record has not the form above; the message names it.
    """
    path = Path(path)
    reader = replace(_RECORDS, fix=fix)
    text = reader.text(path)
    # By what is in it, since names vary; a line by itself is known by its name.
    named = path.name.lower().removesuffix(".gz").endswith(".jsonl")
    lines = are_lines(text) or (named and not text.lstrip().startswith("["))
    records = tuple(
        _checked_records(_RECORDS.json_lines(text, path) if lines else _records_of(text, path))
    )
    if not records:
        raise DataError("the file holds no self-edits", where=path, fix=_RECORD_FORM)
    return SelfEditFile(path, records, hash_file(path))


def _records_of(text: str, path: Path) -> Iterable[tuple[str, Any]]:
    data = _RECORDS.parse_json(text, path)
    if not isinstance(data, list):
        raise FormatError("the file does not hold a list of records", where=path, fix=_RECORD_FORM)
    return ((f"{path}, record {number}", record) for number, record in enumerate(data, 1))


def _checked_records(records: Iterable[tuple[str, Any]]) -> Iterable[Mapping[str, Any]]:
    for where, record in records:
        named = isinstance(record, dict) and any(
            isinstance(record.get(key), str) for key in ("context", "id")
        )
        # No self-edits at all is an error too: an empty list would count as "fewer" much later.
        if not named or not all(isinstance(t, str) for t in _texts(record)) or not _texts(record):
            raise FormatError("this is no record of self-edits", where=where, fix=_RECORD_FORM)
        yield record


def _texts(record: Mapping[str, Any]) -> list[Any]:
    texts = record.get("self_edits", record.get("completions"))
    return texts if isinstance(texts, list) else []


def _name(record: Mapping[str, Any]) -> str:
    text = record.get("context")
    return _by_text(text) if isinstance(text, str) else f"id {record['id']}"


def _by_text(text: str) -> str:
    """White space does not matter: files of the same passages differ in it."""
    return "text " + " ".join(text.split())
