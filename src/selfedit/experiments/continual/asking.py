"""The questions after a step: every sequence's passages so far and the probes, in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import TypedDict

from selfedit.experiments.continual.way import Setting, Way
from selfedit.grading.stats import mean
from selfedit.lm.generate import generate
from selfedit.lm.lora import Adapter
from selfedit.results.compare import shares_right
from selfedit.retention.learner import Learner
from selfedit.tasks.task import Context, Question, reply_to


class QuizRecord(TypedDict):
    """What one sequence answered after a step; see `StepRecord`."""

    accuracy: dict[str, float]
    answers: list[list[str]]
    routed_right: float | None


@dataclass(frozen=True)
class _Quiz:
    """The questions of one sequence, and what each is answered under."""

    edited: list[str]
    pairs: list[tuple[Context, Question]]
    adapters: Sequence[Adapter | None]
    routes: Sequence[int | None]


def ask_group(
    setting: Setting, way: Way, group: Sequence[int], step: int, learners: Sequence[Learner]
) -> list[QuizRecord]:
    """For each sequence its answers to the passages so far and to the probes: accuracies, and where
    they went.
    """
    session = setting.session
    quizzes = [
        _quiz_of(setting, way, number, step, learner)
        for number, learner in zip(group, learners, strict=True)
    ]
    prompts: list[tuple[int, ...]] = []
    adapters: list[Adapter | None] = []
    for quiz in quizzes:
        prompts += [session.task.question(*pair) for pair in quiz.pairs]
        adapters += quiz.adapters
    limit = session.settings.answer.max_new_tokens
    completions = iter(generate(session.lm, prompts, adapters, max_new_tokens=limit))
    answered: list[QuizRecord] = []
    for quiz in quizzes:
        answers = [next(completions).text for _ in quiz.pairs]
        answered.append(_grade_quiz(setting, way, quiz, answers))
    return answered


def _quiz_of(setting: Setting, way: Way, number: int, step: int, learner: Learner) -> _Quiz:
    edited = setting.plan[number][:step]
    pairs = [
        (context, question)
        for context in [*edited, *setting.probes]
        for question in context.questions
    ]
    texts = [(context.title, question.text) for context, question in pairs]
    adapters, routes = way.remedies.answering(learner, texts)
    return _Quiz([context.id for context in edited], pairs, adapters, routes)


def _grade_quiz(setting: Setting, way: Way, quiz: _Quiz, answers: Sequence[str]) -> QuizRecord:
    replies = [reply_to(*pair, text) for pair, text in zip(quiz.pairs, answers, strict=True)]
    verdicts: dict[str, list[bool | None]] = {}
    grades = setting.session.grader.grade_all(replies)
    for (context, _), grade in zip(quiz.pairs, grades, strict=True):
        verdicts.setdefault(context.id, []).append(grade.correct)
    # An edit's adapter has the number of its passage; probes have none to go to.
    right = [
        route == quiz.edited.index(context.id)
        for route, (context, _) in zip(quiz.routes, quiz.pairs, strict=True)
        if context.id in quiz.edited
    ]
    return {
        "accuracy": shares_right(verdicts),
        "answers": [
            [question.id, text] for (_, question), text in zip(quiz.pairs, answers, strict=True)
        ],
        "routed_right": mean(right) if way.remedies.apart else None,
    }
