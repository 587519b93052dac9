"""The texts that a library's documents are found by, a line of ``texts.jsonl`` for each version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from selfedit.documents.library_state import STATE_READER
from selfedit.run.metrics import Metrics
from selfedit.storage.files import canonical_json, write_atomic

TEXTS = "texts.jsonl"


class _TextLine(BaseModel):
    """A line of ``texts.jsonl``."""

    id: str
    texts: list[str]


class Texts:
    """The texts that a library's documents are found by, by their versions.

    Args:
        folder: the library's.

    Raises:
        ModelFileError: a line is none of these.
    """

    def __init__(self, folder: Path) -> None:
        self._lines = Metrics(folder / TEXTS)
        lines = STATE_READER.shape(self._lines.lines(), list[_TextLine], self._lines.path)
        self.by_version = {each.id: each.texts for each in lines}

    def repair(self) -> None:
        """Cut off what a kill has left of a line."""
        self._lines.repair()

    def add(self, version: str, texts: list[str]) -> None:
        """Keep a document's texts, unless they are there."""
        if version not in self.by_version:
            self._lines.append({"id": version, "texts": texts})
            self.by_version[version] = texts

    def keep(self, kept: Mapping[str, list[str]]) -> None:
        """Keep these; write the file anew where most of it is of documents that are gone."""
        for version, texts in kept.items():
            self.add(version, texts)
        # Seldom: a line that nothing names costs its reading, the whole file costs its writing.
        if len(self.by_version) > 2 * len(kept) + 8:
            lines = [{"id": version, "texts": texts} for version, texts in kept.items()]
            data = b"".join(canonical_json(line, indent=None) for line in lines)
            write_atomic(self._lines.path, data)
            self.by_version = dict(kept)
