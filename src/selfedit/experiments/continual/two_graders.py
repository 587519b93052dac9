"""What sequences answer at their end, by a second grader too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from selfedit.experiments.continual.measures import MeasuredWay, StepRecord
from selfedit.experiments.continual.way import Setting
from selfedit.grading.stats import means
from selfedit.tasks.knowledge.second_opinion import GradedAnswer, SecondOpinion, second_opinion
from selfedit.tasks.task import Context, reply_to


def by_two_graders(setting: Setting, measured: Mapping[str, MeasuredWay]) -> SecondOpinion:
    """The answers at the end of every sequence of each way on its own passages, graded again; a
    sequence counts by the mean over its passages, as in the table.
    """
    by_id = {context.id: context for sequence in setting.plan for context in sequence}
    answers = {name: _last_answers(setting, by_id, way.steps) for name, way in measured.items()}
    second = second_opinion(setting.session.grader, list(by_id.values()), answers)
    for name, of_passages in second.more["second"]["contexts"].items():
        second.more["second"]["contexts"][name] = _by_sequence(of_passages)
    return second


def _last_answers(
    setting: Setting, by_id: Mapping[str, Context], steps: Sequence[Sequence[StepRecord]]
) -> list[GradedAnswer]:
    """With the verdicts of the run's grader, which the steps keep by passage only."""
    questions = {q.id: (context, q) for context in by_id.values() for q in context.questions}
    places: list[str] = []
    texts: list[tuple[str, str]] = []
    for number, sequence in enumerate(steps):
        edited = {context.id for context in setting.plan[number]}
        for question_id, text in sequence[-1]["answers"]:
            if question_id in questions and questions[question_id][0].id in edited:
                places.append(f"sequence-{number} {questions[question_id][0].id}")
                texts.append((question_id, text))
    # A judge's replies are kept, so that asking again costs nothing.
    replies = [reply_to(*questions[question_id], text) for question_id, text in texts]
    grades = setting.session.grader.grade_all(replies)
    return [
        GradedAnswer(key, question_id, text, grade.correct)
        for key, (question_id, text), grade in zip(places, texts, grades, strict=True)
    ]


def _by_sequence(of_passages: Mapping[str, float]) -> dict[str, float]:
    grouped: dict[str, list[float]] = defaultdict(list)
    for key, share in of_passages.items():
        grouped[key.partition(" ")[0]].append(share)
    return means(grouped)
