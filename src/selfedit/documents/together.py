"""The documents of a library that are new train together: one bank, an adapter a document.

Groups are formed from all that an update has to learn, done or not, so that a resumed update makes
the same groups, and so the same bytes, as one that was never stopped. A group is trained before its
documents are measured; a kill in it loses the group's training. A long document trains alone, and
goes on within its training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Unpack

from selfedit.config import Settings
from selfedit.documents.adapt import document_session, open_document
from selfedit.documents.material import document_material
from selfedit.documents.sources import Document
from selfedit.documents.training import ReadyTraining, is_trained, prepare_training, store_adapter
from selfedit.inner.adapt import adapt
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
    # Alone it keeps a checkpoint, which a group does not.
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
        adapters = _train_group(library, sessions[0], trainings)
        for session, training, adapter in zip(sessions, trainings, adapters, strict=True):
            # A kill may have come between two of a group: what is stored stays.
            if not is_trained(session.run):
                store_adapter(session, training, adapter)


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
    library: RunFolder, session: Session[KnowledgeTask], trainings: Sequence[ReadyTraining]
) -> list[Adapter]:
    jobs = [training.job for training in trainings]
    # Once for a library: what is trained at the same time decides the last bits.
    rows = choose_group(session, "documents", jobs, library.ledger)
    total = sum(
        job.optim.epochs * len(s.ids)
        for job in jobs
        for s in job.sequences
        if not isinstance(s, str)
    )
    name = f"training {len(jobs)} documents together"
    with session.progress.task(name, total=total, unit="tokens") as counter:
        return adapt(session.lm, jobs, count_up(counter, session.interrupt.check), rows=rows)
