"""Texts about passages as documents to train on: each whole, under its passage's title."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from selfedit.inner.job import TrainSequence
from selfedit.lm.load import LanguageModel
from selfedit.rl.session import Session
from selfedit.run.records import SelfEditRow
from selfedit.tasks.task import Context


def documents_of(
    session: Session, contexts: Sequence[Context], rows: Sequence[SelfEditRow]
) -> list[TrainSequence]:
    """One document a text, ``{title}\\n{text}``, in the ledger's order; then each passage once, if
    it is trained on.

    Texts without a word are left out; one longer than the model takes is cut.
    """
    titles = {context.id: context.title for context in contexts}
    texts = [(titles[row.context_id], cleaned(row.text)) for row in rows]
    documents = [
        _document(session.lm, title, text) for title, text in texts if any(map(str.isalnum, text))
    ]
    if session.settings.edit.passage:
        documents += [_document(session.lm, context.title, context.text) for context in contexts]
    return documents


def cleaned(text: str) -> str:
    """A model's text without control characters and halves of characters; its lines stay."""
    return "\n".join(_without_controls(line).rstrip() for line in text.splitlines()).strip()


def _without_controls(line: str) -> str:
    return "".join(char for char in line if unicodedata.category(char)[0] != "C")


def _document(lm: LanguageModel, title: str, text: str) -> TrainSequence:
    ids = (*lm.document(f"{title}\n{text}")[:-1][: lm.max_tokens - 1], lm.end_id)
    return TrainSequence(ids, (False, *[True] * (len(ids) - 1)))
