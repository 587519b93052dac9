"""What is measured once before and once after documents are learned, each finished measurement kept
in the run's ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

from selfedit.documents.recall import (
    Answered,
    RecallRecord,
    ask_questions,
    passage_losses,
    recall_accuracies,
)
from selfedit.lm.lora import Adapter
from selfedit.retention.facts import everyday_facts
from selfedit.rl.session import Session
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.shown import ShownTask
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context

GENERAL = "corpus:heldout"
"""The text whose loss shows damage."""


def measured(
    session: Session[KnowledgeTask],
    name: str,
    contexts: Sequence[Context],
    adapter: Adapter | None,
    probes: Sequence[Context] | None = None,
    known: Collection[str] | None = None,
) -> RecallRecord:
    """What is recalled now, once: a finished measurement is read from the ledger.

    Args:
        session: the run.
        name: of the measurement.
        contexts: the passages.
        adapter: what they were learned into; None before.
        probes: what is asked; the passages' own questions if not given.
        known: ids of the everyday facts to ask for; as many as ``documents.known`` says if not
            given.
    """
    ledger = session.run.ledger
    if (stored := ledger.step(name)) is not None:
        return RecallRecord(**stored)
    session.interrupt.check()
    answers = ask_questions(
        session.task,
        contexts if probes is None else probes,
        session.grader,
        adapter,
        name=f"what it recalls {name}",
        progress=session.progress,
        interrupt=session.interrupt,
    )
    payload: RecallRecord = {
        "answers": [asdict(answer) for answer in answers],
        "accuracy": recall_accuracies(answers),
        "loss": passage_losses(session.lm, contexts, adapter),
        "general": passage_losses(session.lm, load_contexts(GENERAL), adapter),
        "known": _known(session, adapter, known),
    }
    ledger.finish_step(name, payload)
    # As a resumed run has it, in the ledger's order: sums over it have the same last bits.
    return RecallRecord(**(ledger.step(name) or {}))


def answers_in_prompt(session: Session[KnowledgeTask], probes: Sequence[Context]) -> list[Answered]:
    """What the unadapted model answers with each question's passage in the prompt, once."""
    ledger, name = session.run.ledger, "with the passage in the prompt"
    if (stored := ledger.step(name)) is None:
        session.interrupt.check()
        answers = ask_questions(
            ShownTask(session.lm, session.settings),
            probes,
            session.grader,
            name=name,
            progress=session.progress,
            interrupt=session.interrupt,
        )
        stored = {"answers": [asdict(answer) for answer in answers]}
        ledger.finish_step(name, stored)
    return [Answered(**answer) for answer in stored["answers"]]


def answered(record: RecallRecord) -> list[Answered]:
    """The answers of a measurement."""
    return [Answered(**values) for values in record["answers"]]


def _known(
    session: Session[KnowledgeTask], adapter: Adapter | None, among: Collection[str] | None
) -> list[str]:
    """The everyday facts that are answered, asked without a topic."""
    facts = [question for topic in everyday_facts() for question in topic.questions]
    step = max(1, len(facts) // max(1, session.settings.documents.known))
    # Evenly from the list: its facts are sorted by topic.
    chosen = facts[::step][: session.settings.documents.known]
    if among is not None:
        chosen = [fact for fact in chosen if fact.id in among]
    # No title: a topic line would say half of the answer.
    probe = Context("everyday", "", "", tuple(chosen))
    answers = ask_questions(session.task, [probe], session.grader, adapter, name="everyday facts")
    return [answer.question for answer in answers if answer.correct]
