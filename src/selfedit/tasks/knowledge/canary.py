"""What a grader lets through: the score of answers that know a passage, and not which of its
questions is asked.

Such an answer shows nothing learned. A list of all gold answers, two alternatives, the question
said again or the passage recited should be right to no question, and one gold answer to its own
question alone; a grader that gives more can be talked into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from selfedit.grading.grader import Grader, Reply
from selfedit.grading.stats import clustered, share_right
from selfedit.results.names import CANARY, CANARY_NAMES
from selfedit.tasks.task import Context, Question, reply_to

LIST = "constant-list"
"""The row of the list of a passage's gold answers."""
BEST = "constant-best"
"""The row of the best single gold answer of a passage, given to all its questions."""


def _listed(context: Context, _: Question) -> str:
    return ", ".join(_golds(context))


def _alternatives(context: Context, question: Question) -> str:
    others = [gold for gold in _golds(context) if gold not in question.answers]
    return f"{question.answers[0]} or {others[0]}" if others else _listed(context, question)


def _repeated(_: Context, question: Question) -> str:
    return question.text


def _recital(context: Context, _: Question) -> str:
    return context.text


FORMS: dict[str, Callable[[Context, Question], str]] = {
    LIST: _listed,
    "alternatives": _alternatives,
    "question": _repeated,
    "recital": _recital,
}
"""Answers that should be right to no question."""

Shares = dict[str, dict[str, float]]
"""For each row, the accuracy of each context."""


def constant_scores(contexts: Sequence[Context], grader: Grader) -> Shares:
    """The accuracy of each context under `CANARY`, each of `FORMS` and `BEST`, as methods'
    accuracies are kept.

    Every answer is graded as a model's would be. Contexts without questions, and those for which
    the grader comes to no verdict, are left out.

    Raises:
        Unavailable: a judge cannot be asked.
    """
    replies: dict[tuple[str, str, int], list[Reply]] = {}
    for context in contexts:
        for form, answer in FORMS.items():
            replies[form, context.id, 0] = [
                reply_to(context, q, answer(context, q)) for q in context.questions
            ]
        for number, gold in enumerate(_golds(context)):
            replies[BEST, context.id, number] = [
                reply_to(context, q, gold) for q in context.questions
            ]
    # One list of all: a judge is then asked many things at once.
    grades = iter(grader.grade_all(list(chain.from_iterable(replies.values()))))
    scores: Shares = {name: {} for name in CANARY_NAMES}
    for (form, context_id, _), of_answer in replies.items():
        share = share_right([next(grades).correct for _ in of_answer])
        if share is not None:
            # Who games a grader takes what works best for the passage.
            for row in {form, CANARY} if form in FORMS else {form}:
                scores[row][context_id] = max(share, scores[row].get(context_id, 0.0))
    return scores


def canary_rows(contexts: Sequence[Context], grader: Grader) -> list[dict[str, Any]]:
    """`constant_scores` as rows of a table: method, accuracy, standard error over contexts, n."""
    rows = []
    for method, scores in constant_scores(contexts, grader).items():
        if scores:
            estimate = clustered({context: [score] for context, score in scores.items()})
            rows.append(
                {"method": method, "accuracy": estimate.mean, "se": estimate.se, "n": estimate.n}
            )
    return rows


def mean_words(texts: Sequence[str]) -> float:
    """The mean number of words of texts, one or more."""
    return sum(len(text.split()) for text in texts) / len(texts)


def _golds(context: Context) -> list[str]:
    return list(dict.fromkeys(question.answers[0] for question in context.questions))
