"""The documents that a library should know: each with its name, its passages and a hash of what it
says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from selfedit.errors import DocumentError, UsageError
from selfedit.storage.bounded import is_there
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

_LOG = logging.getLogger(__name__)


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


def read_documents(sources: Sequence[str | Path]) -> list[Document]:
    """Every document of the sources with its name: a file's own, or its path within the folder it
    was found in.

    Raises:
        UsageError: two documents have one name.
    """
    by_name: dict[str, Document] = {}
    for source in sources:
        for name, file in _files(source):
            contexts = tuple(load_contexts(file))
            document = Document(name, file, contexts, data_hash(contexts))
            if (other := by_name.setdefault(name, document)) is not document:
                raise UsageError(
                    f"two documents have one name: {other.source}",
                    where=file,
                    fix="rename one, or give each once",
                )
    return _different(list(by_name.values()))


def _files(source: str | Path) -> Iterator[tuple[str, str]]:
    """Names and paths of a source's documents."""
    path = Path(source)
    # A name such as corpus:learn is none of a folder, and a name can be too long to be looked up.
    if str(source).startswith(CORPUS_PREFIX) or not is_there(path) or not path.is_dir():
        yield path.name, str(source)
        return
    for document in _filled_documents(path):
        yield readable(document.relative_to(path).as_posix()), str(document)


def _filled_documents(folder: Path) -> list[Path]:
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
