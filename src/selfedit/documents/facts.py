"""The facts of documents with their questions: which wordings are trained, which one is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from typing_extensions import TypedDict

from selfedit.rl.session import Session
from selfedit.tasks.knowledge.fact_questions import likeliest_wordings, reworded, training_question
from selfedit.tasks.knowledge.stated_facts import stated_facts
from selfedit.tasks.knowledge.support import passage_sentences
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context

STEP = "facts"


class FactRecord(TypedDict):
    """A fact as the ledger keeps it: the questions that are trained, the one that is asked as a
    test (empty for none), and the acceptable answers, the passage's own words first.
    """

    sentence: str
    trained: list[str]
    test: str
    answers: list[str]


def learned_facts(
    session: Session[KnowledgeTask], contexts: Sequence[Context]
) -> Mapping[str, list[FactRecord]]:
    """The facts of every passage by its id, their wordings chosen once and kept in the ledger."""
    ledger = session.run.ledger
    if ledger.step(STEP) is None:
        ledger.finish_step(STEP, {"facts": _facts_of(session, contexts)})
    return (ledger.step(STEP) or {})["facts"]


def _facts_of(
    session: Session[KnowledgeTask], contexts: Sequence[Context]
) -> dict[str, list[FactRecord]]:
    most = session.settings.documents.facts
    stated = [(c, fact) for c in contexts for fact in (stated_facts(c, most) if most else [])]
    # All at once: reading them takes one pass or two.
    chosen = likeliest_wordings(session.lm, [fact for _, fact in stated])
    records: dict[str, list[FactRecord]] = {context.id: [] for context in contexts}
    for (context, fact), wording in zip(stated, chosen, strict=True):
        # Two wordings: one alone is learned by heart.
        trained = [training_question(fact), *([wording.question] if wording else [])]
        record: FactRecord = {
            "sentence": _sentence_of(context, fact.before, fact.answer),
            "trained": list(dict.fromkeys(trained)),
            "test": reworded(fact, wording.subject) or "" if wording else "",
            "answers": list(fact.golds),
        }
        records[context.id].append(record)
    return records


def coverage(
    contexts: Sequence[Context], facts: Mapping[str, list[FactRecord]], probes: Sequence[Context]
) -> float:
    """Share of the passages' sentences that state one of the facts; of a passage without any that
    is asked about otherwise, all.
    """
    quizzed = {context.id for context in probes if not facts[context.id]}
    sentences, covered = 0, 0
    for context in contexts:
        count = len(passage_sentences(context))
        stating = len({fact["sentence"] for fact in facts[context.id]})
        sentences += count
        covered += count if context.id in quizzed else min(count, stating)
    return covered / sentences if sentences else 0.0


def _sentence_of(context: Context, before: str, answer: str) -> str:
    """The sentence a fact was read in: the first that has its words."""
    words = before.split()[-1:] + answer.split()
    for sentence in passage_sentences(context):
        if all(word in sentence for word in words):
            return sentence
    return answer
