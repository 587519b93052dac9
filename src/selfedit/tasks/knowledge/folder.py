"""The documents of a folder, and which of its files are left out and why."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import TypedDict

from selfedit.errors import DocumentError, SelfEditError
from selfedit.storage.bounded import files_below
from selfedit.storage.neutral import in_line
from selfedit.tasks.knowledge.readers.kinds import CONVERTIBLE, KINDS

MARKDOWN_SUFFIXES = (".md", ".markdown")
DOCUMENT_SUFFIXES = (*MARKDOWN_SUFFIXES, ".txt", ".rst", *KINDS)
DATA_SUFFIXES = (".json", ".jsonl")

_BLANK = 2**12
_LOG = logging.getLogger(__name__)


class SkippedRecord(TypedDict):
    """A `Skipped` as it stands in results."""

    file: str
    reason: str


@dataclass(frozen=True)
class Skipped:
    """A file that was left out.

    Attributes:
        file: its path as text.
        reason: why, as the end of a sentence, and what to do about it where there is something.
    """

    file: str
    reason: str

    def as_record(self) -> SkippedRecord:
        """As plain JSON values."""
        return {"file": self.file, "reason": self.reason}

    @staticmethod
    def because(path: Path, error: SelfEditError) -> Skipped:
        """Left out because of an error."""
        reason = f"{error.what}; {error.fix}" if error.fix else error.what
        return Skipped(readable(str(path)), reason)


OnSkip = Callable[[Skipped], None]


def log_skipped(skipped: Skipped) -> None:
    """Say it as a warning."""
    _LOG.warning("left out: %s: %s", in_line(skipped.file), in_line(skipped.reason))


def documents_in(folder: Path, on_skip: OnSkip = log_skipped) -> list[Path]:
    """The documents under a folder in the order of their paths; hidden files and folders are passed
    over, every other file that is no document is told to ``on_skip``.

    Raises:
        DocumentError: there is none.
    """
    documents: list[Path] = []
    for path in _visible(folder):
        if path.suffix.lower() not in DOCUMENT_SUFFIXES:
            on_skip(Skipped(readable(str(path)), _why_not(path)))
        elif is_blank(path):
            on_skip(Skipped(readable(str(path)), "it is empty"))
        else:
            documents.append(path)
    if not documents:
        fix = "put files with text in it that end in " + " ".join(DOCUMENT_SUFFIXES)
        raise DocumentError("the folder holds no documents", where=folder, fix=fix)
    return documents


def _visible(folder: Path) -> Iterator[Path]:
    for path in files_below(folder):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _why_not(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in CONVERTIBLE:
        return f"files ending in '{suffix}' are not read; {CONVERTIBLE[suffix]}"
    if suffix in DATA_SUFFIXES:
        return "it is data, not a document; to use it, name it by itself"
    return f"files ending in '{suffix}' are not read" if suffix else "its name has no ending"


def is_blank(path: Path) -> bool:
    """Whether a document has nothing in it but white space; only small ones are looked at."""
    return path.stat().st_size < _BLANK and not path.read_bytes().strip()


def readable(name: str) -> str:
    """A file's name as text; one that is not UTF-8 is taken for Latin-1, as in old archives."""
    data = os.fsencode(name)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
