"""A living set of documents: one adapter a document, and only what has changed is learned again.

Each document's folder is an `adapt_documents` run of its own, so every step of every document is
resumable by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NotRequired, Unpack, cast

from typing_extensions import TypedDict

from selfedit.config import Settings
from selfedit.documents.adapt import AdaptResults, adapt_passages, frozen_settings
from selfedit.documents.changes import Recalled
from selfedit.documents.known_files import KnownFiles
from selfedit.documents.library import PASSAGES, Library, document_texts, read_texts
from selfedit.documents.library_state import Entry, Journal
from selfedit.documents.library_texts import Texts
from selfedit.documents.sources import Document, read_documents
from selfedit.documents.together import document_groups, forget_trainings, train_together
from selfedit.errors import UsageError
from selfedit.lm.load import LanguageModel, load_for
from selfedit.rl.opening import RunOptions, check_named, open_folder
from selfedit.run.folder import RunFolder
from selfedit.run.interrupt import Interrupt
from selfedit.storage.files import canonical_json, remove, write_atomic
from selfedit.tasks.knowledge.folder import Skipped, SkippedRecord

KIND = "library"
_UPDATE = "update"


class Routed(TypedDict):
    """How many of a document's own questions find it."""

    right: int
    questions: int


class DocumentRecord(TypedDict):
    """A document as the library knows it: see `selfedit.documents.library_state.Entry`."""

    name: str
    version: str
    adapter: str
    passages: int
    recall: Recalled


class LibraryResults(TypedDict):
    """What is written to a library's ``results.json``; ``skipped`` are files of its folders that
    were left out, each with its reason.
    """

    experiment: str
    documents: list[DocumentRecord]
    skipped: NotRequired[list[SkippedRecord]]
    done: dict[str, list[str]]
    routed: dict[str, Routed]
    model: dict[str, str]
    grader: str


def adapt_library(
    folder: str | Path,
    sources: Sequence[str | Path],
    settings: Settings,
    *,
    samples: int = 1,
    own_questions: bool = True,
    **options: Unpack[RunOptions],
) -> LibraryResults:
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
        options: see `RunOptions`.

    Raises:
        DocumentError, FormatError, SettingsChanged, RunFolderError, Interrupted: see
        `selfedit.errors`.
    """
    skipped: list[Skipped] = []
    files = KnownFiles(Path(folder))
    documents = read_documents(sources, skipped.append, files)
    return update_library(
        folder,
        documents,
        settings,
        samples=samples,
        own_questions=own_questions,
        skipped=skipped,
        files=files,
        **options,
    )


def update_library(
    folder: str | Path,
    documents: Sequence[Document],
    settings: Settings,
    *,
    samples: int,
    own_questions: bool,
    skipped: Sequence[Skipped] = (),
    files: KnownFiles | None = None,
    **options: Unpack[RunOptions],
) -> LibraryResults:
    """The same for documents that are read already; ``skipped`` is what was left out of them,
    ``files`` which files they were.
    """
    if settings.run.trackers:
        what = "the documents of a library are no runs that a tracker could follow"
        raise UsageError(what, where="run.trackers", fix="adapt documents without --library")
    check_named(settings)
    frozen = frozen_settings(settings, samples, own_questions)
    options["interrupt"] = interrupt = options.get("interrupt") or Interrupt()
    with open_folder(folder, frozen, {}, kind=KIND) as run:
        number = _updates(run)
        journal = Journal(run, number, _noted_versions(run, number))
        texts = Texts(run.path)
        texts.repair()
        entries: dict[str, Entry] = {}
        # By what was known before the update began: a resumed one makes the same groups.
        learned_versions = set(journal.before.values())
        new = [document for document in documents if document.version not in learned_versions]
        for group in document_groups(new):
            if any(document.version not in journal.known for document in group):
                _load_model(run, settings, options)
                train_together(run, group, settings, samples, own_questions, **options)
        # Also those of groups that there are no more: a document has changed since the last stop.
        forget_trainings(run)
        for document in documents:
            if (known := journal.known.get(document.version)) is not None:
                entries[document.name] = replace(known, name=document.name)
                continue
            interrupt.check()
            results = _learned_documents(run, document, settings, samples, own_questions, options)
            entries[document.name] = entry = _new_entry(run, document, results)
            # What is finished can be asked at once, beside what there was before.
            texts.add(entry.version, read_texts(run.path / entry.adapter))
            journal.add(entry)
        done = _done_by_kind(journal.before, documents)
        # Only once what the library knows now is written may a folder go that nothing names.
        journal.finish(entries.values())
        texts.keep(document_texts(run.path, entries.values(), texts))
        _sweep(run, entries)
        lm = options.get("lm")
        results = _library_results(run, documents, skipped, entries, done, settings, lm)
        run.write_results(results)
        if files is not None:
            files.save()
        run.ledger.finish_step(f"{_UPDATE} {number} done", {})
        # After the step: until then the journal says what there was before.
        journal.close()
    return results


def _learned_documents(
    run: RunFolder,
    document: Document,
    settings: Settings,
    samples: int,
    own_questions: bool,
    options: RunOptions,
) -> AdaptResults:
    """Measure one document, and train its adapter where that is not done yet."""
    _load_model(run, settings, options)
    return adapt_passages(
        run.path / document.folder,
        document.contexts,
        settings,
        samples=samples,
        own_questions=own_questions,
        **options,
    )


def _load_model(run: RunFolder, settings: Settings, options: RunOptions) -> None:
    """Load the model for the first document of an update, and keep it in ``options``."""
    run.check_there()
    options["lm"] = lm = options.get("lm") or load_for(settings)
    run.keep_model(settings.model, lm.fingerprint)


def _updates(run: RunFolder) -> int:
    """How many times the library was brought up to date to the end."""
    names = [step.name for step in run.ledger.steps()]
    return sum(name.startswith(_UPDATE) and name.endswith("done") for name in names)


def _noted_versions(run: RunFolder, number: int) -> dict[str, str] | None:
    """The versions before an update that an earlier version of this program began, in the ledger's
    words; None for all others.
    """
    noted = run.ledger.step(f"{_UPDATE} {number} begun")
    return None if noted is None else noted["versions"]


def _done_by_kind(before: Mapping[str, str], documents: Sequence[Document]) -> dict[str, list[str]]:
    """What an update does to each document, by the versions there were before it."""
    done: dict[str, list[str]] = {
        kind: [] for kind in ("added", "changed", "moved", "unchanged", "removed")
    }
    known_versions = set(before.values())
    for document in documents:
        if document.version in known_versions:
            done["unchanged" if document.name in before else "moved"].append(document.name)
        else:
            done["changed" if document.name in before else "added"].append(document.name)
    done["removed"] = _removed(before, documents)
    return done


def _new_entry(run: RunFolder, document: Document, results: AdaptResults) -> Entry:
    """The entry of a document that has been learned; its passages are kept beside it, for the
    router.
    """
    texts = [f"{context.title}\n{context.text}" for context in document.contexts]
    write_atomic(run.path / document.folder / PASSAGES, canonical_json(texts))
    recall: Recalled = {"loss": results["loss"], "general_loss": results["general_loss"]}
    if "accuracy" in results:
        recall["accuracy"] = results["accuracy"]
    return Entry(document.name, document.version, document.folder, len(document.contexts), recall)


def _removed(before: Mapping[str, str], documents: Sequence[Document]) -> list[str]:
    """Documents that are gone; one that has only another name is not."""
    names = {document.name for document in documents}
    versions = {document.version for document in documents}
    return [
        name for name, version in before.items() if name not in names and version not in versions
    ]


def _sweep(run: RunFolder, entries: Mapping[str, Entry]) -> None:
    """Remove the folders of documents that are gone or have another version by now."""
    used_folders = {run.path / entry.adapter for entry in entries.values()}
    for folder in sorted((run.path / "documents").glob("*")):
        if folder not in used_folders:
            remove(folder)


def _library_results(
    run: RunFolder,
    documents: Sequence[Document],
    skipped: Sequence[Skipped],
    entries: Mapping[str, Entry],
    done: dict[str, list[str]],
    settings: Settings,
    lm: LanguageModel | None,
) -> LibraryResults:
    """The library as it is now, what was done, and how many of its documents' own questions find
    their document.
    """
    with_questions = [
        each for each in documents if any(context.questions for context in each.contexts)
    ]
    # A router over thousands of documents is made only where there is something to route.
    library = Library(run.path, lm) if with_questions else None
    routed: dict[str, Routed] = {}
    for document in with_questions:
        assert library is not None
        routes = [
            library.route(question.text, context.title)
            for context in document.contexts
            for question in context.questions
        ]
        right = sum(entry is not None and entry.name == document.name for entry in routes)
        routed[document.name] = {"right": right, "questions": len(routes)}
    return {
        "experiment": KIND,
        "documents": [cast("DocumentRecord", vars(e)) for _, e in sorted(entries.items())],
        "skipped": [each.as_record() for each in skipped],
        "done": done,
        "routed": routed,
        "model": {"name": settings.model},
        "grader": settings.answer.grader,
    }
