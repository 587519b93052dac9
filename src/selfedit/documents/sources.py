"""The documents that a library should know: name, passages and a hash of what each says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from selfedit.documents.known_files import KnownFiles, stamp_of
from selfedit.errors import DocumentError, Unavailable, UsageError
from selfedit.storage.bounded import is_there
from selfedit.storage.neutral import slug
from selfedit.tasks.knowledge.contexts import CORPUS_PREFIX, data_hash, load_contexts
from selfedit.tasks.knowledge.folder import OnSkip, Skipped, documents_in, log_skipped, readable
from selfedit.tasks.task import Context


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


def read_documents(
    sources: Sequence[str | Path], on_skip: OnSkip = log_skipped, known: KnownFiles | None = None
) -> list[Document]:
    """Every document of the sources with its name: a file's own, or its path within the folder it
    was found in. A file of a folder that cannot be read, and a copy of another document, is told to
    ``on_skip`` and left out. A file that is ``known`` is not read: its document has no passages
    here.

    Raises:
        DocumentError, FormatError, Unavailable: a file that was named by itself cannot be read, or
            there is no document at all.
        UsageError: two documents have one name.
    """
    by_name: dict[str, Document] = {}
    for source in sources:
        for name, file, is_named in _files(source, on_skip):
            try:
                document = _read_document(name, file, known)
            except (DocumentError, Unavailable) as error:
                if is_named:
                    raise
                on_skip(Skipped.because(Path(file), error))
                continue
            if (other := by_name.setdefault(name, document)) is not document:
                raise UsageError(
                    f"two documents have one name: {other.source}",
                    where=file,
                    fix="rename one, or give each once",
                )
    if not by_name:
        raise DocumentError(
            "none of the documents can be read",
            where=", ".join(map(str, sources)),
            fix="see above for each of them",
        )
    return _different(list(by_name.values()), on_skip)


def _read_document(name: str, file: str, known: KnownFiles | None) -> Document:
    path = Path(file)
    if known is None or file.startswith(CORPUS_PREFIX) or not is_there(path):
        contexts = tuple(load_contexts(file))
        return Document(name, file, contexts, data_hash(contexts))
    if (version := known.version(path)) is not None:
        return Document(name, file, (), version)
    # Before it is read: what changes meanwhile is read again the next time.
    stamp = stamp_of(path)
    contexts = tuple(load_contexts(file))
    version = data_hash(contexts)
    # Questions are asked of the router at every update, so a file of them is always read.
    if not any(context.questions for context in contexts):
        known.note(path, stamp, version)
    return Document(name, file, contexts, version)


def _files(source: str | Path, on_skip: OnSkip) -> Iterator[tuple[str, str, bool]]:
    """Names and paths of a source's documents, and whether it is a file that was named itself."""
    path = Path(source)
    # A name such as corpus:learn is none of a folder, and a name can be too long to be looked up.
    if str(source).startswith(CORPUS_PREFIX) or not is_there(path) or not path.is_dir():
        yield path.name, str(source), True
        return
    for document in documents_in(path, on_skip):
        yield readable(document.relative_to(path).as_posix()), str(document), False


def _different(documents: Sequence[Document], on_skip: OnSkip) -> list[Document]:
    """Each text once: a copy (the same licence in two folders) is told and left out."""
    by_version: dict[str, Document] = {}
    for document in documents:
        if (other := by_version.setdefault(document.version, document)) is not document:
            on_skip(Skipped(readable(document.source), f"it says the same as {other.source}"))
    return list(by_version.values())
