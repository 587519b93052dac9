"""A living set of documents: one adapter a document, and only what has changed is learned again.

A library's folder holds ``library.json``, which says which adapter knows what, from which version
of the document, with what recall, and one folder a document, which is an adapter in PEFT's format
and the run that made it (`selfedit.documents.adapt`), so every step of every document is resumable
by itself. Questions are routed to a document's adapter by their words; see
`selfedit.retention.library` for what the router sees.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, StringConstraints

from selfedit.config import Settings
from selfedit.config.retention import LibrarySettings
from selfedit.documents.adapt import PLACE, adapt_documents, load_adapter
from selfedit.errors import DocumentError, ModelFileError, UsageError
from selfedit.lm.load import LanguageModel, load_for
from selfedit.lm.lora import Adapter
from selfedit.retention.library import WordRouter
from selfedit.run.folder import RunFolder
from selfedit.run.interrupt import Interrupt
from selfedit.run.progress import SILENT, ProgressSink
from selfedit.storage.bounded import BoundedReader, is_there
from selfedit.storage.files import canonical_json, remove, write_atomic
from selfedit.storage.neutral import in_line, slug
from selfedit.tasks.knowledge.contexts import (
    CORPUS_PREFIX,
    data_hash,
    documents_in,
    is_blank,
    load_contexts,
    readable,
)
from selfedit.tasks.task import Context

KIND, STATE, TEXTS = "library", "library.json", "passages.json"
_UPDATE = "update"
_WRITTEN_EVERY = 32
"""The library's state is rewritten when more than this part of it is new."""
_USED = ("model", "prompting", "device", "dtype", "seed", "edit", "inner", "answer")


@dataclass(frozen=True)
class Document:
    """A document as it is given now: its name in the library, its passages, and the hash of all it
    says.
    """

    name: str
    source: str
    contexts: tuple[Context, ...]
    version: str

    @property
    def folder(self) -> str:
        """Where its adapter is, within the library."""
        return f"documents/{slug(Path(self.name).stem, 'passage')}-{self.version[:12]}"


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
    recall: dict[str, Any]


class _State(BaseModel):
    """What ``library.json`` holds."""

    documents: list[Entry]


_LOG = logging.getLogger(__name__)
_STATE = BoundedReader(
    "the library's state",
    error=ModelFileError,
    fix="remove it: the next `selfedit adapt --library` makes it anew from the documents",
)
_WORDS = BoundedReader(
    "what a document says",
    error=ModelFileError,
    fix="bring the library up to date: the same `selfedit adapt --library` again",
)


def adapt_library(
    folder: str | Path,
    sources: Sequence[str | Path],
    settings: Settings,
    *,
    samples: int = 1,
    own_questions: bool = False,
    progress: ProgressSink = SILENT,
    interrupt: Interrupt | None = None,
    lm: LanguageModel | None = None,
) -> dict[str, Any]:
    """Bring a library up to date with its documents; returns what is written to ``results.json``.

    New and changed documents are learned, documents that are gone lose their adapter, a document
    under another name keeps its own, and one that is unchanged costs nothing: the model is not even
    loaded for it.

    Args:
        folder: the library's; made if it is not there.
        sources: every document it should know: files, or folders of documents.
        settings: as for `adapt_documents`; frozen in the library.
        samples: self-edits a passage.
        own_questions: measure documents without questions by the model's own.
        progress: where progress goes.
        interrupt: how the user stops the run; the same call goes on where it stopped.
        lm: the model, if it is loaded already.

    Raises:
        DocumentError, FormatError, SettingsChanged, RunFolderError, Interrupted: see
        `selfedit.errors`.
    """
    documents = read_documents(sources)
    used = {
        name: value for name, value in settings.model_dump(mode="json").items() if name in _USED
    }
    extra = {"own_questions": settings.rl.own.model_dump(mode="json")} if own_questions else {}
    interrupt = interrupt or Interrupt()
    with RunFolder.open(folder, {**used, **extra, "samples": samples}, kind=KIND) as run:
        before = _begun(run)
        by_version = {entry.version: entry for entry in read_library(run.path)}
        entries: dict[str, Entry] = {}
        unwritten = 0
        for document in documents:
            known = by_version.get(document.version)
            if known is not None:
                entries[document.name] = replace(known, name=document.name)
                continue
            interrupt.check()
            run.check_there()
            lm = lm or load_for(settings)
            run.keep_model(settings.model, lm.fingerprint)
            entries[document.name] = _learn(
                run.path / document.folder,
                document,
                settings,
                samples=samples,
                own_questions=own_questions,
                progress=progress,
                interrupt=interrupt,
                lm=lm,
            )
            # What is finished is in the library at once, beside what there was before; in a large
            # one not each time, for all of it is written. What a kill loses of it is in the
            # documents' own folders.
            unwritten += 1
            if unwritten > len(entries) // _WRITTEN_EVERY:
                _write(run, {entry.name: entry for entry in by_version.values()} | entries)
                unwritten = 0
        done = _done(before, documents)
        _write(run, entries)
        _sweep(run, entries)
        results = _results(run, documents, entries, done, settings)
        run.write_results(results)
        run.ledger.finish_step(f"{_UPDATE} {_updates(run)} done", {})
    return results


def _updates(run: RunFolder) -> int:
    """How many times the library was brought up to date to the end."""
    names = [step.name for step in run.ledger.steps()]
    return sum(name.startswith(_UPDATE) and name.endswith("done") for name in names)


def _begun(run: RunFolder) -> dict[str, str]:
    """The versions of the documents that the library knew before this update, which may have been
    begun by a process that was stopped.
    """
    name = f"{_UPDATE} {_updates(run)} begun"
    if run.ledger.step(name) is None:
        versions = {entry.name: entry.version for entry in read_library(run.path)}
        run.ledger.finish_step(name, {"versions": versions})
    return (run.ledger.step(name) or {})["versions"]


def _done(before: Mapping[str, str], documents: Sequence[Document]) -> dict[str, list[str]]:
    """What an update does to each document, by the versions there were before it."""
    done: dict[str, list[str]] = {
        name: [] for name in ("added", "changed", "moved", "unchanged", "removed")
    }
    known_versions = set(before.values())
    for document in documents:
        if document.version in known_versions:
            done["unchanged" if document.name in before else "moved"].append(document.name)
        else:
            done["changed" if document.name in before else "added"].append(document.name)
    done["removed"] = _removed(before, documents)
    return done


def _learn(folder: Path, document: Document, settings: Settings, **options: Any) -> Entry:
    """Train a document's adapter, and keep its passages beside it for the router."""
    folder.parent.mkdir(exist_ok=True)
    results = adapt_documents(folder, [document.source], settings, **options)
    texts = [f"{context.title}\n{context.text}" for context in document.contexts]
    write_atomic(folder / TEXTS, canonical_json(texts))
    return _entry(document, results)


def _removed(before: Mapping[str, str], documents: Sequence[Document]) -> list[str]:
    """Documents that are gone; one that has only another name is not."""
    names = {document.name for document in documents}
    versions = {document.version for document in documents}
    return [
        name for name, version in before.items() if name not in names and version not in versions
    ]


def read_documents(sources: Sequence[str | Path]) -> list[Document]:
    """Every document of the sources with its name: a file's own, or its path within the folder it
    was found in.

    Raises:
        UsageError: two documents have one name.
    """
    documents: list[Document] = []
    for source in sources:
        path = Path(source)
        if not str(source).startswith(CORPUS_PREFIX) and is_there(path) and path.is_dir():
            inside = [
                (readable(each.relative_to(path).as_posix()), str(each)) for each in _filled(path)
            ]
        else:
            inside = [(path.name, str(source))]
        for name, file in inside:
            contexts = tuple(load_contexts(file))
            documents.append(Document(name, file, contexts, data_hash(contexts)))
    by_name: dict[str, Document] = {}
    for document in documents:
        if (other := by_name.setdefault(document.name, document)) is not document:
            fix = "rename one, or give each once"
            raise UsageError(
                f"two documents have one name: {other.source}", where=document.source, fix=fix
            )
    return _different(documents)


def _filled(folder: Path) -> list[Path]:
    """The folder's documents; an empty one is named and left out."""
    documents = documents_in(folder)
    for path in documents:
        if is_blank(path):
            _LOG.warning("left out, it is empty: %s", in_line(path))
    filled = [path for path in documents if not is_blank(path)]
    if not filled:
        raise DocumentError(
            "every document of the folder is empty", where=folder, fix="put text in them"
        )
    return filled


def _different(documents: Sequence[Document]) -> list[Document]:
    """Each text once: a copy (the same licence in two folders) is named and left out."""
    by_version: dict[str, Document] = {}
    for document in documents:
        if (other := by_version.setdefault(document.version, document)) is not document:
            _LOG.warning(
                "left out, it says the same as %s: %s",
                in_line(other.source),
                in_line(document.source),
            )
    return list(by_version.values())


def _entry(document: Document, results: Mapping[str, Any]) -> Entry:
    recall = {
        name: results[name] for name in ("accuracy", "loss", "general_loss") if name in results
    }
    return Entry(document.name, document.version, document.folder, len(document.contexts), recall)


def _write(run: RunFolder, entries: Mapping[str, Entry]) -> None:
    run.check_there()
    state = {
        "form": 1,
        "model": run.settings["model"],
        "documents": [asdict(e) for _, e in sorted(entries.items())],
    }
    write_atomic(run.path / STATE, canonical_json(state))


def read_library(folder: str | Path) -> list[Entry]:
    """The documents a library knows, by name; none for a library that has just been begun.

    Raises:
        ModelFileError: ``library.json`` cannot be read.
    """
    path = Path(folder) / STATE
    return _STATE.shape(_STATE.json(path), _State, path).documents if path.exists() else []


def _sweep(run: RunFolder, entries: Mapping[str, Entry]) -> None:
    """Remove the folders of documents that are gone or have another version by now."""
    used_folders = {run.path / entry.adapter for entry in entries.values()}
    for folder in sorted((run.path / "documents").glob("*")):
        if folder not in used_folders:
            remove(folder)


class Library:
    """A library to ask: its documents, and which of them a question goes to.

    Args:
        folder: the library's.
        settings: how questions are routed; by words, whatever ``route`` says.

    Raises:
        ModelFileError: this is no library, or a document's adapter is missing.
    """

    def __init__(self, folder: str | Path, settings: LibrarySettings | None = None) -> None:
        self.folder = Path(folder)
        if not is_library(folder):
            fix = "give the folder that `selfedit adapt --library -o` wrote"
            raise ModelFileError("this is not a library of documents", where=folder, fix=fix)
        self.settings = settings or LibrarySettings()
        self.entries = read_library(folder)
        self._router = WordRouter(
            [self._text(entry) for entry in self.entries], self.settings.least
        )
        self._adapters: dict[int, Adapter] = {}

    def route(self, question: str, title: str = "") -> Entry | None:
        """The document a question goes to, from its words and its topic line alone; None for none."""
        index = self._router.route(
            f"{title}\n{question}" if title and self.settings.title else question
        )
        return None if index is None else self.entries[index]

    def adapter(self, entry: Entry, lm: LanguageModel) -> Adapter:
        """A document's adapter for a model, loaded once.

        Raises:
            ModelFileError: it was trained on other weights.
        """
        index = self.entries.index(entry)
        if index not in self._adapters:
            self._adapters[index] = load_adapter(self.folder / entry.adapter, lm)
        return self._adapters[index]

    def _text(self, entry: Entry) -> str:
        """What an adapter was made from: the document's passages and the model's self-edits of
        them.
        """
        path = self.folder / entry.adapter
        try:
            words = _WORDS.shape(_WORDS.json(path / TEXTS), list[str], path / TEXTS)
            with RunFolder.read(path) as run:
                return "\n".join([*words, *[row.text for row in run.ledger.self_edits(PLACE)]])
        except OSError as error:
            raise _WORDS.refused(str(error), path) from error


def is_library(folder: str | Path) -> bool:
    """Whether a folder is a library of documents."""
    return (Path(folder) / STATE).exists()


def _results(
    run: RunFolder,
    documents: Sequence[Document],
    entries: Mapping[str, Entry],
    done: Mapping[str, list[str]],
    settings: Settings,
) -> dict[str, Any]:
    """The library as it is now, what was done, and how many of its documents' own questions find
    their document.
    """
    library = Library(run.path, settings.retention.library)
    routed = {}
    for document in documents:
        queries = [(c.title, q.text) for c in document.contexts for q in c.questions]
        if queries:
            routes = [library.route(question, title) for title, question in queries]
            right = sum(entry is not None and entry.name == document.name for entry in routes)
            routed[document.name] = {"right": right, "questions": len(queries)}
    return {
        "experiment": KIND,
        "documents": [asdict(entry) for _, entry in sorted(entries.items())],
        "done": dict(done),
        "routed": routed,
        "model": {"name": settings.model},
        "grader": settings.answer.grader,
    }
