"""What is asked of documents before and after they are learned: questions that somebody gave, those
that came with the passages, or those that the model makes itself.

Its own are asked of the facts that stand in the passages (`selfedit.documents.facts`); the answer
is the passage's own words. All of them count, whether or not the model would find the answer with
the passage before it: a model that is asked only what it reads well does better than on anybody's
questions. A passage without such facts, in another language for one, gets a quiz that the model
writes, of which those questions are kept that it answers alike several times with the passage and
not without it (`selfedit.rl.own_questions`).

Questions are asked as somebody asks who has not read the headings: without a topic line.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from typing_extensions import TypedDict

from selfedit.documents.facts import FactRecord
from selfedit.documents.routing import DocumentRouter
from selfedit.rl.own_questions import with_own_questions
from selfedit.rl.session import Session
from selfedit.run.seeds import derive
from selfedit.tasks.knowledge.passage_files import json_records
from selfedit.tasks.knowledge.passage_forms import checked_questions
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context, Question

STEP = "questions"


class QuestionRecord(TypedDict):
    """A question as the ledger keeps it."""

    context: str
    id: str
    question: str
    answers: list[str]


def given_questions(path: str | Path) -> list[Question]:
    """The questions of a JSON file: single ones, or those of passages.

    Raises:
        FormatError, DocumentError: it cannot be read, or holds none.
    """
    pairs = checked_questions(json_records(Path(path)), path)
    return [Question(f"given-{n}", text, golds) for n, (text, golds) in enumerate(pairs, start=1)]


def placed_questions(
    session: Session[KnowledgeTask], contexts: Sequence[Context], questions: Sequence[Question]
) -> list[Context]:
    """Given questions under the passages that they are about by their words; those that are about
    none, under the first.
    """
    texts = [[f"{context.title}\n{context.text}"] for context in contexts]
    lm = session.lm
    router = DocumentRouter(texts, lm.encoding.more, len(lm.tokenizer), least=0.0)
    placed: dict[int, list[Question]] = {}
    for question in questions:
        route = router.route(question.text)
        placed.setdefault(0 if route is None else route.document, []).append(question)
    return [_untitled(contexts[number], placed[number]) for number in sorted(placed)]


def made_questions(
    session: Session[KnowledgeTask],
    contexts: Sequence[Context],
    facts: Mapping[str, Sequence[FactRecord]],
) -> list[Context]:
    """The model's own questions about passages, at most ``documents.questions`` of them; made once,
    then read from the ledger.
    """
    ledger = session.run.ledger
    if ledger.step(STEP) is None:
        ledger.finish_step(STEP, {"questions": _make(session, contexts, facts)})
    by_context: dict[str, list[Question]] = {}
    for each in (ledger.step(STEP) or {})["questions"]:
        question = Question(each["id"], each["question"], tuple(each["answers"]))
        by_context.setdefault(each["context"], []).append(question)
    return [_untitled(c, by_context[c.id]) for c in contexts if c.id in by_context]


def _make(
    session: Session[KnowledgeTask],
    contexts: Sequence[Context],
    facts: Mapping[str, Sequence[FactRecord]],
) -> list[QuestionRecord]:
    most, seed = session.settings.documents.questions, session.settings.seed
    tests = [(c, fact) for c in contexts for fact in facts[c.id] if fact["test"]]
    texts = Counter(fact["test"] for _, fact in tests)
    # Two facts that are asked for in the same words have no right answer.
    clear = [(c, fact) for c, fact in tests if texts[fact["test"]] == 1]
    numbers = random.Random(derive(seed, STEP)).sample(range(len(clear)), min(most, len(clear)))
    records: list[QuestionRecord] = []
    for number in sorted(numbers):
        context, fact = clear[number]
        name = f"{context.id}/fact{number + 1}"
        records.append(_question_record(context, name, fact["test"], fact["answers"]))
    # A model writes its own quiz only where no rule reads the passage.
    silent = [c for c in contexts if not facts[c.id]][: most - len(records)]
    for context in with_own_questions(session, silent) if silent else []:
        for question in context.questions:
            record = _question_record(context, question.id, question.text, question.answers)
            records.append(record)
    return records[:most]


def _question_record(
    context: Context, name: str, text: str, golds: Sequence[str]
) -> QuestionRecord:
    return {"context": context.id, "id": name, "question": text, "answers": list(golds)}


def _untitled(context: Context, questions: Sequence[Question]) -> Context:
    """A passage to ask about without its title; where it is shown, the title stands in the text."""
    text = f"{context.title}\n{context.text}"
    return replace(context, title="", text=text, questions=tuple(questions))
