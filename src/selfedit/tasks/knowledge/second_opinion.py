"""The answers of a table graded by a second grader, beside what tricks score under both, how long
answers are, and which questions a fitted grader knew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from selfedit.config import JudgeSettings
from selfedit.grading.calibrated import known_questions
from selfedit.grading.grader import Grader, get_grader
from selfedit.grading.stats import mean_se
from selfedit.results.compare import shares_right
from selfedit.results.tabular import Cell, Column, Table
from selfedit.tasks.knowledge.canary import canary_rows, mean_words
from selfedit.tasks.task import Context, Question, reply_to


@dataclass(frozen=True)
class GradedAnswer:
    """One answer of a method, with the first grader's verdict."""

    context_id: str
    question_id: str
    text: str
    correct: bool | None


Answers = Mapping[str, Sequence[GradedAnswer]]
"""For each method, its answers."""


@dataclass(frozen=True)
class SecondOpinion:
    """What a table says besides: plain data for the results, notes and tables, and the second
    grader's verdicts on every method's answers, in their order.
    """

    more: dict[str, Any]
    notes: list[str]
    tables: list[Table]
    verdicts: dict[str, list[bool | None]]


def second_grader(first: Grader) -> Grader:
    """The grader beside a table's first: `calibrated`, or `concise` where that is the first."""
    return get_grader("concise" if first.name == "calibrated" else "calibrated", JudgeSettings())


def second_opinion(first: Grader, contexts: Sequence[Context], answers: Answers) -> SecondOpinion:
    """Grade all answers again with the `second_grader`, and both graders' tricks.

    Args:
        first: the grader of the table.
        contexts: all that was asked about.
        answers: of every method.

    Raises:
        Unavailable: the first grader is a judge that cannot be asked about the tricks.
    """
    second = second_grader(first)
    questions = {q.id: (context, q) for context in contexts for q in context.questions}
    verdicts = _verdicts(second, questions, answers)
    scores = {
        method: shares_right(_verdicts_by_context(answers[method], verdicts[method]))
        for method in answers
    }
    words: dict[str, float] = {}
    stored: dict[str, list[bool | None]] = {}
    for method, of_method in answers.items():
        stored[method] = [answer.correct for answer in of_method]
        if of_method:
            words[method] = mean_words([answer.text for answer in of_method])
    more: dict[str, Any] = {
        "canary": canary_rows(contexts, first),
        "answer_words": words,
        "second": {
            "grader": second.name,
            "contexts": scores,
            "canary": canary_rows(contexts, second),
        },
    }
    notes: list[str] = []
    tables: list[Table] = []
    # A fitted grader may be either of the two.
    for grader, of_grader in ((first, stored), (second, verdicts)):
        texts = [question.text for _, question in questions.values()]
        if known := known_questions(grader, texts):
            different = len(set(texts))
            notes.append(
                f"{grader.name} was fitted on verdicts about {len(known)} of the {different}"
                " questions: on these it says more than it knows. The others stand apart below."
            )
            tables.append(_unknown_table(grader, set(known), questions, answers, of_grader))
    return SecondOpinion(more, notes, tables, verdicts)


def _verdicts(
    grader: Grader, questions: Mapping[str, tuple[Context, Question]], answers: Answers
) -> dict[str, list[bool | None]]:
    every = chain.from_iterable(answers.values())
    replies = [reply_to(*questions[answer.question_id], answer.text) for answer in every]
    # Greedy answers repeat: each different reply is graded once.
    different = list(dict.fromkeys(replies))
    graded = zip(different, grader.grade_all(different), strict=True)
    by_reply = {reply: grade.correct for reply, grade in graded}
    verdicts = iter([by_reply[reply] for reply in replies])
    return {method: list(islice(verdicts, len(answers[method]))) for method in answers}


def _verdicts_by_context(
    answers: Sequence[GradedAnswer], verdicts: Sequence[bool | None]
) -> dict[str, list[bool | None]]:
    grouped: dict[str, list[bool | None]] = defaultdict(list)
    for answer, verdict in zip(answers, verdicts, strict=True):
        grouped[answer.context_id].append(verdict)
    return grouped


def _unknown_table(
    grader: Grader,
    known: set[str],
    questions: Mapping[str, tuple[Context, Question]],
    answers: Answers,
    verdicts: Mapping[str, Sequence[bool | None]],
) -> Table:
    """Accuracies on the questions whose verdicts the grader was not fitted on."""
    rows: list[list[Cell]] = []
    for method, of_method in answers.items():
        pairs = zip(of_method, verdicts[method], strict=True)
        unknown: dict[str, list[bool | None]] = defaultdict(list)
        for answer, verdict in pairs:
            if questions[answer.question_id][1].text not in known:
                unknown[answer.context_id].append(verdict)
        shares = shares_right(unknown)
        if shares:
            estimate = mean_se(shares.values())
            rows.append([method, estimate.mean, estimate.se, estimate.n])
    columns = ["method", Column("accuracy %", "percent"), Column("se", "percent"), "n"]
    return Table.make(f"On questions that {grader.name} was not fitted on", columns, rows)
