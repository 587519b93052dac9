"""What a library's folder keeps of its documents, written so that one document costs one document
however many there are.

``library.json`` is the library as its last update left it. While an update is under way each
document that is learned is a line of ``library.journal``, whose first line says what there was
before; the update's end writes ``library.json`` anew and removes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, StringConstraints

from selfedit.documents.changes import Recalled
from selfedit.errors import ModelFileError
from selfedit.run.folder import RunFolder
from selfedit.run.metrics import Metrics
from selfedit.storage.bounded import BoundedReader
from selfedit.storage.files import canonical_json, remove, write_atomic

STATE, JOURNAL = "library.json", "library.journal"


@dataclass(frozen=True)
class Entry:
    """What the library knows of a document.

    Attributes:
        name: the document's.
        version: hash of what it said when it was learned.
        adapter: folder of its adapter, within the library.
        passages: how many.
        recall: what is recalled of it, before and after it was learned: ``accuracy`` (where there
            are questions), ``loss`` and ``general_loss`` as `adapt_documents` measures them.
    """

    name: str
    version: str
    adapter: Annotated[str, StringConstraints(pattern=r"^documents/[a-z0-9-]+$")]
    passages: int
    recall: Recalled


class LibraryState(BaseModel):
    """What ``library.json`` holds."""

    model: str
    documents: list[Entry]


class _Begun(BaseModel):
    """The first line of a journal: the update's number, and the versions there were, by name."""

    update: int
    versions: dict[str, str]


STATE_READER = BoundedReader(
    "the library's state",
    error=ModelFileError,
    fix="remove it: the next `selfedit adapt --library` makes it anew from the documents",
)


def is_library(folder: str | Path) -> bool:
    """Whether a folder is a library of documents."""
    return (Path(folder) / STATE).exists()


def read_state(folder: str | Path) -> LibraryState:
    """The library as its last update left it.

    Raises:
        ModelFileError: ``library.json`` cannot be read.
    """
    path = Path(folder) / STATE
    return STATE_READER.shape(STATE_READER.json(path), LibraryState, path)


def read_library(folder: str | Path) -> list[Entry]:
    """The documents a library knows, by name, those among them that an update under way has learned
    so far; none for a library that has just been begun.

    Raises:
        ModelFileError: its state cannot be read.
    """
    if not is_library(folder):
        return []
    by_name = {entry.name: entry for entry in read_state(folder).documents}
    by_name |= {entry.name: entry for entry in _read_journal(folder)[1]}
    return [entry for _, entry in sorted(by_name.items())]


def _read_journal(folder: str | Path) -> tuple[_Begun | None, list[Entry]]:
    path = Path(folder) / JOURNAL
    lines = Metrics(path).lines()
    if not lines:
        return None, []
    # The whole list at once: checking each by itself would cost more than reading it.
    entries = STATE_READER.shape(lines[1:], list[Entry], path)
    return STATE_READER.shape(lines[0], _Begun, path), entries


class Journal:
    """The journal of an update under way, new or gone on with.

    Args:
        run: the library's folder.
        update: the update's number.
        versions: what there was before it, where somebody else has noted that.

    Attributes:
        before: versions by name, as they were before this update began.
        known: every document that the library knows, by version, of those that the update has
            learned so far too.
    """

    def __init__(
        self, run: RunFolder, update: int, versions: Mapping[str, str] | None = None
    ) -> None:
        self._run, self._lines = run, Metrics(run.path / JOURNAL)
        if not is_library(run.path):
            _write_state(run, [])
        self._state = state = read_state(run.path).documents
        self._lines.repair()
        begun, learned = _read_journal(run.path)
        # That of an update that came to its end: a kill came before it was removed.
        if begun is None or begun.update != update:
            self.close()
            begun, learned = _Begun(update=update, versions=_versions(state, versions)), []
            self._lines.append(begun.model_dump())
        self.before = begun.versions
        self.known = {entry.version: entry for entry in [*state, *learned]}

    def add(self, entry: Entry) -> None:
        """Note a document that was learned: it can be asked from now on."""
        self._run.check_there()
        self._lines.append(vars(entry))
        self.known[entry.version] = entry

    def finish(self, entries: Iterable[Entry]) -> None:
        """Write ``library.json`` anew, if these are not what it says."""
        ordered = sorted(entries, key=lambda entry: entry.name)
        if ordered != self._state:
            _write_state(self._run, ordered)

    def close(self) -> None:
        """Remove it: ``library.json`` says all that it says."""
        remove(self._lines.path)


def _write_state(run: RunFolder, entries: Sequence[Entry]) -> None:
    """Write ``library.json``."""
    run.check_there()
    # A line a document: laid out over many lines the half of an update would be writing them.
    lines = [canonical_json(vars(entry), indent=None).rstrip() for entry in entries]
    head = canonical_json({"form": 1, "model": run.settings["model"]}, indent=None).rstrip(b"}\n")
    body = b",\n".join(lines)
    write_atomic(run.path / STATE, head + b',"documents":[\n' + body + b"\n]}\n")


def _versions(state: Iterable[Entry], noted: Mapping[str, str] | None) -> dict[str, str]:
    return dict(noted) if noted is not None else {entry.name: entry.version for entry in state}
