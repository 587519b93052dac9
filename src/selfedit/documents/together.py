"""The documents of a library that are new train together: one bank, an adapter a document.

Groups are formed from all that an update has to learn, done or not, so that a resumed update makes
the same groups, and so the same bytes, as one that was never stopped. A group is trained before its
documents are measured, and goes on within its training: its state is kept in the library's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Unpack

from selfedit.config import Settings
from selfedit.documents.adapt import document_session, open_document
from selfedit.documents.material import document_material
from selfedit.documents.sources import Document
from selfedit.documents.training import (
    CHECKPOINT,
    ReadyTraining,
    is_trained,
    job_tokens,
    kept_training,
    prepare_training,
    store_adapter,
)
from selfedit.inner.adapt import adapt
from selfedit.inner.checkpoint import Checkpoint
from selfedit.lm.lora import Adapter
from selfedit.rl.grouping import choose_group
from selfedit.rl.opening import RunOptions
from selfedit.rl.own_texts import STEP
from selfedit.rl.session import Session
from selfedit.run.folder import RunFolder
from selfedit.run.progress import count_up
from selfedit.tasks.knowledge.task import KnowledgeTask

DOCUMENTS, WORDS = 16, 6000
"""Documents of a group, and words of all of them, at the most."""
_KEPT_EVERY = 300.0
"""Seconds between two states of a group's training: one of sixteen adapters may be a gigabyte."""


def document_groups(documents: Sequence[Document]) -> Iterator[list[Document]]:
    """The documents in their order, as many together as a group takes."""
    group: list[Document] = []
    words = 0
    for document in documents:
        size = sum(len(context.text.split()) for context in document.contexts)
        if group and (len(group) == DOCUMENTS or words + size > WORDS):
            yield group
            group, words = [], 0
        group.append(document)
        words += size
    if group:
        yield group


def train_together(
    library: RunFolder,
    group: Sequence[Document],
    settings: Settings,
    samples: int,
    own_questions: bool,
    **options: Unpack[RunOptions],
) -> None:
    """Train the adapters of a group's documents in one bank and store each in its own folder, where
    one is not yet there. A single document is left to `adapt_passages`.
    """
    if len(group) < 2:
        return
    with ExitStack() as stack:
        sessions: list[Session[KnowledgeTask]] = []
        for document in group:
            hashes = {"documents": document.version}
            folder = library.path / document.folder
            run = stack.enter_context(
                open_document(folder, hashes, settings, samples, own_questions)
            )
            session = stack.enter_context(document_session(run, settings, **options))
            sessions.append(session)
        if all(is_trained(session.run) for session in sessions):
            return
        trainings = [
            _prepared(library, session, document, samples)
            for session, document in zip(sessions, group, strict=True)
        ]
        kept = kept_training(sessions[0], library, [each.job for each in trainings], _KEPT_EVERY)
        # After a stop a document may have changed: what is kept then is no state of this group.
        checkpoint = replace(kept, path=kept.path.with_stem(f"{kept.path.stem}-{kept.key[:12]}"))
        adapters = _train_group(library, sessions[0], trainings, checkpoint)
        for session, training, adapter in zip(sessions, trainings, adapters, strict=True):
            # A kill may have come between two of a group: what is stored stays.
            if not is_trained(session.run):
                store_adapter(session, training, adapter)
        forget_trainings(library)


def forget_trainings(library: RunFolder) -> None:
    """Remove the states of trainings that are done, or that nothing goes on with."""
    Checkpoint(library.path / CHECKPOINT, "").remove()


def _prepared(
    library: RunFolder, session: Session[KnowledgeTask], document: Document, samples: int
) -> ReadyTraining:
    """A document's training; what the model writes of its own accord is written once a library."""
    texts, ledger = library.ledger.step(STEP), session.run.ledger
    if texts is not None and ledger.step(STEP) is None:
        ledger.finish_step(STEP, texts)
    training = prepare_training(session, *document_material(session, document.contexts, samples))
    if texts is None and (written := ledger.step(STEP)) is not None:
        library.ledger.finish_step(STEP, written)
    return training


def _train_group(
    library: RunFolder,
    session: Session[KnowledgeTask],
    trainings: Sequence[ReadyTraining],
    checkpoint: Checkpoint,
) -> list[Adapter]:
    jobs = [training.job for training in trainings]
    # Once for a library: what is trained at the same time decides the last bits.
    rows = choose_group(session, "documents", jobs, library.ledger)
    name, total = f"training {len(jobs)} documents together", sum(map(job_tokens, jobs))
    with session.progress.task(name, total=total, unit="tokens") as counter:
        on_step = count_up(counter, session.interrupt.check)
        return adapt(session.lm, jobs, on_step, rows=rows, checkpoint=checkpoint)
