"""A library of documents to ask: one adapter a document, and a router by words
(`selfedit.documents.routing`).

A library's folder holds what it knows (`selfedit.documents.library_state`): which adapter knows
what, from which version of the document, with what recall; and one folder a document, which is an
adapter in PEFT's format and the run that made it. `selfedit.documents.upkeep` keeps it up to date.
Questions are routed to a document's adapter by their words, and by those of their topic line where
there is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from selfedit.documents.adapt import load_adapter
from selfedit.documents.library_state import Entry, is_library, read_library, read_state
from selfedit.documents.library_texts import Texts
from selfedit.documents.material import PLACE
from selfedit.documents.routing import DocumentRouter
from selfedit.documents.shelf import KEPT
from selfedit.errors import ModelFileError
from selfedit.lm.load import LanguageModel, load_without_weights
from selfedit.lm.lora import Adapter
from selfedit.run.folder import RunFolder
from selfedit.storage.bounded import BoundedReader

PASSAGES = "passages.json"
_PASSAGES = BoundedReader(
    "what a document says",
    error=ModelFileError,
    fix="bring the library up to date: the same `selfedit adapt --library` again",
)


class Library:
    """A library to ask: its documents, and which of them a question goes to.

    Args:
        folder: the library's.
        lm: the model it was made for, if it is loaded already; else its tokenizer alone is loaded.

    Raises:
        ModelFileError: this is no library, or a document's adapter is missing.
        ModelUnavailable: the model's tokenizer cannot be fetched.
    """

    def __init__(self, folder: str | Path, lm: LanguageModel | None = None) -> None:
        self.folder = Path(folder)
        if not is_library(folder):
            fix = "give the folder that `selfedit adapt --library -o` wrote"
            raise ModelFileError("this is not a library of documents", where=folder, fix=fix)
        self.entries = read_library(folder)
        tokens = lm or load_without_weights(read_state(folder).model)
        self._router = DocumentRouter(
            list(document_texts(self.folder, self.entries, Texts(self.folder)).values()),
            tokens.encoding.more,
            len(tokens.tokenizer),
        )
        # A large library's adapters do not fit into memory together.
        self._loaded = lru_cache(KEPT)(load_adapter)

    def route(self, question: str, title: str = "") -> Entry | None:
        """The document a question goes to, by its words and its topic line; None for none."""
        route = self._router.route(f"{title}\n{question}" if title else question)
        return None if route is None else self.entries[route.document]

    def is_follow_up(self, question: str) -> bool:
        """Whether a question is about whatever was spoken of before: see `DocumentRouter`."""
        return self._router.is_follow_up(question)

    def adapter(self, entry: Entry, lm: LanguageModel) -> Adapter:
        """A document's adapter for a model, loaded once.

        Raises:
            ModelFileError: it was trained on other weights.
        """
        return self._loaded(self.folder / entry.adapter, lm)


def document_texts(folder: Path, entries: Iterable[Entry], texts: Texts) -> dict[str, list[str]]:
    """The texts that questions find each document by: its passages and the model's self-edits of
    them; by version, in the documents' order.

    Raises:
        ModelFileError: a document's folder is missing or damaged.
    """
    # Libraries of earlier versions have them in the documents' folders alone.
    return {
        entry.version: texts.by_version.get(entry.version) or read_texts(folder / entry.adapter)
        for entry in entries
    }


def read_texts(path: Path) -> list[str]:
    """The same of one document, from its own folder."""
    try:
        passages = _PASSAGES.shape(_PASSAGES.json(path / PASSAGES), list[str], path / PASSAGES)
        with RunFolder.read(path) as run:
            return [*passages, *[row.text for row in run.ledger.self_edits(PLACE)]]
    except OSError as error:
        raise _PASSAGES.refused(str(error), path) from error
