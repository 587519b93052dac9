"""Graders: from a question, its gold answers and a reply to a verdict.

Those here need no model, no key and no data file, nor does ``concise``
(:mod:`selfedit.grading.concise`), the default for rewards and tables, which is hard to talk into a
yes. ``calibrated`` (:mod:`selfedit.grading.calibrated`) is fitted on GPT-4.1's verdicts and is the
default where numbers are held against published ones; ``judge`` (:mod:`selfedit.grading.judge`)
asks a language model at an endpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self, runtime_checkable

from selfedit.config import JudgeSettings
from selfedit.config.choice import load_named
from selfedit.errors import UsageError
from selfedit.grading.text import contains_gold, exact_match, token_f1


class Reply(NamedTuple):
    """One answer to grade.

    Attributes:
        question: what was asked.
        golds: every acceptable gold answer.
        answer: what was answered.
        others: gold answers to the other questions of the passage, if it is known.
        passage: the passage, if it is known.
    """

    question: str
    golds: Sequence[str]
    answer: str
    others: Sequence[str] = ()
    passage: str = ""


@dataclass(frozen=True)
class Grade:
    """A verdict.

    Attributes:
        correct: the verdict itself; None if none was reached (a judge that was not understood). It
            counts as no answer graded, never as a wrong one.
        score: how good the answer is in [0, 1]; what it means depends on the method (1 or 0, an F1,
            a probability, a share of votes). None where there is no verdict.
        method: the name of the grader that gave it.
    """

    correct: bool | None
    score: float | None
    method: str


@runtime_checkable
class Grader(Protocol):
    """What can grade. Subclass it and write ``grade``; override ``grade_all`` where a batch is
    cheaper, and ``from_settings`` where it takes more than nothing to make one.
    """

    name: str

    @classmethod
    def from_settings(cls, judge: JudgeSettings) -> Self:
        """The grader of a run; ``judge`` says whom to ask, for one that asks a model."""
        return cls()

    def grade(self, question: str, golds: Sequence[str], answer: str) -> Grade:
        """Grade one answer.

        Raises:
            DataError: there is no gold answer.
        """
        ...

    def grade_all(self, replies: Sequence[Reply]) -> list[Grade]:
        """Grade many answers, in their order."""
        return [self.grade(reply.question, reply.golds, reply.answer) for reply in replies]


class ExactGrader(Grader):
    """Right if the answer is a gold answer and nothing else (SQuAD's EM)."""

    name = "exact"

    def grade(self, question: str, golds: Sequence[str], answer: str) -> Grade:
        """Grade one answer; the score is 1 or 0."""
        correct = exact_match(answer, golds)
        return Grade(correct, float(correct), self.name)


class ContainsGrader(Grader):
    """Right if a gold answer stands in the answer as whole words."""

    name = "contains"

    def grade(self, question: str, golds: Sequence[str], answer: str) -> Grade:
        """Grade one answer; the score is 1 or 0."""
        correct = contains_gold(answer, golds)
        return Grade(correct, float(correct), self.name)


class F1Grader(Grader):
    """Right if the token F1 reaches a threshold; the score is the F1.

    Args:
        threshold: in (0, 1]; 1 asks for the same words in any order.

    Raises:
        UsageError: the threshold is outside (0, 1].
    """

    name = "f1"

    def __init__(self, threshold: float = 0.5) -> None:
        if not 0 < threshold <= 1:
            raise UsageError(
                f"the F1 threshold is {threshold}", fix="choose one above 0 and up to 1"
            )
        self.threshold = threshold

    def grade(self, question: str, golds: Sequence[str], answer: str) -> Grade:
        """Grade one answer; the score is the best F1 over the golds."""
        score = token_f1(answer, golds)
        return Grade(score >= self.threshold, score, self.name)


NO_VERDICT = (
    "see what the grader replied, and start again in a new folder with another answer.grader"
)
"""What to do where no answer, or too few of them, got a verdict."""
GRADERS = {
    "concise": "selfedit.grading.concise:ConciseGrader",
    "contains": "selfedit.grading.grader:ContainsGrader",
    "exact": "selfedit.grading.grader:ExactGrader",
    "f1": "selfedit.grading.grader:F1Grader",
    "calibrated": "selfedit.grading.calibrated:CalibratedGrader",
    "judge": "selfedit.grading.judge:JudgeGrader",
}
"""Every grader's name and where it is; each is imported only when it is asked for."""


def get_grader(name: str, judge: JudgeSettings | None = None) -> Grader:
    """The grader of that name.

    Args:
        name: one of `GRADERS`, or one's own as ``package.module:Name``.
        judge: whom ``judge`` asks; the defaults name no model and cannot be asked.

    Raises:
        UsageError: there is none of that name (the message lists those there are), or no model to
            judge is named.
    """
    kind: type[Grader] = load_named(name, GRADERS, "answer.grader")
    return kind.from_settings(judge or JudgeSettings())
