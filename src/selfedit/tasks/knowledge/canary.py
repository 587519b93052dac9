"""What a grader lets through: the score of answers that know a passage's gold answers but not which
question is asked.

An answer that is the same for every question of a passage shows nothing learned. A list of all gold
answers should be right to none of them, one gold answer to its own question alone; a grader that
gives more can be talked into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfedit.grading.grader import Grader
from selfedit.grading.stats import clustered, share_right
from selfedit.run.records import Trial
from selfedit.tasks.task import Context, reply_to

LIST = "constant-list"
"""The row of the list of a passage's gold answers."""
BEST = "constant-best"
"""The row of the best single gold answer of a passage, given to all its questions."""


def constant_scores(contexts: Sequence[Context], grader: Grader) -> dict[str, dict[str, float]]:
    """The accuracy of each context under `LIST` and `BEST`, as methods' accuracies are kept.

    Every answer is graded as a model's would be. Contexts without questions, and those for which
    the grader comes to no verdict, are left out.

    Raises:
        Unavailable: a judge cannot be asked.
    """
    questioned = [context for context in contexts if context.questions]
    constants = [
        (context, answer)
        for context in questioned
        for answer in [_all_golds(context), *_golds(context)]
    ]
    replies = [
        [reply_to(context, q, answer) for q in context.questions] for context, answer in constants
    ]
    # All at once: a judge's requests go out together.
    grades = iter(grader.grade_all([reply for of_answer in replies for reply in of_answer]))
    shares: dict[str, list[float | None]] = {context.id: [] for context in questioned}
    for (context, _), of_answer in zip(constants, replies, strict=True):
        shares[context.id].append(share_right([next(grades).correct for _ in of_answer]))
    # The list came first for each context, then its single answers.
    listed = {context: graded[0] for context, graded in shares.items()}
    single = {
        context: [share for share in graded[1:] if share is not None]
        for context, graded in shares.items()
    }
    return {
        LIST: {context: share for context, share in listed.items() if share is not None},
        BEST: {context: max(graded) for context, graded in single.items() if graded},
    }


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


def answer_words(trials: Mapping[str, Sequence[Trial]]) -> dict[str, float]:
    """How long each method's answers are: the mean number of words; methods without answers are
    left out.
    """
    texts = {
        method: [answer.text for trial in trials_of_method for answer in trial.answers]
        for method, trials_of_method in trials.items()
    }
    return {
        method: sum(len(text.split()) for text in trials_of_method) / len(trials_of_method)
        for method, trials_of_method in texts.items()
        if trials_of_method
    }


def _golds(context: Context) -> list[str]:
    return list(dict.fromkeys(question.answers[0] for question in context.questions))


def _all_golds(context: Context) -> str:
    return ", ".join(_golds(context))
