"""Trials: which are to be run, with which seeds, and what their answers count for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from selfedit.rl.session import Session
from selfedit.run.records import Place, SelfEditRow, Trial, TrialKey
from selfedit.run.seeds import derive
from selfedit.tasks.task import AnyTask, Context

CandidateKey = tuple[str, int | None]
"""A context's id and the number of a self-edit of it; None for the unadapted model."""


@dataclass(frozen=True)
class PlannedTrial:
    """A trial that is to be run.

    Attributes:
        context: what is adapted to.
        candidate: the self-edit's number.
        repeat: which set of seeds.
        edit: the self-edit as the task read it.
        seed: of the adapter's initial values and dropout.
        order_seed: of the order of the training data.
    """

    context: Context
    candidate: int
    repeat: int
    edit: Any
    seed: int
    order_seed: int

    @property
    def key(self) -> TrialKey:
        """The trial within its place."""
        return TrialKey(self.context.id, self.candidate, self.repeat)


def plan_trials(
    session: Session,
    place: Place,
    contexts: Iterable[Context],
    edits: Sequence[SelfEditRow],
    repeats: Iterable[int],
) -> list[PlannedTrial]:
    """The repeats of every self-edit, read by the task; repeats of one number share their data
    order and, with ``rl.common``, a context's also their initial values and dropout.
    """
    by_id, seed, numbers = (
        {context.id: context for context in contexts},
        session.settings.seed,
        list(repeats),
    )
    at, common = seed_parts(place), session.settings.rl.common
    planned: list[PlannedTrial] = []
    for row in edits:
        edit = session.task.parse(row.text)
        for repeat in numbers:
            # With common random numbers candidates differ by their data alone.
            each = (row.context_id,) if common else (row.context_id, row.candidate)
            inner = derive(seed, "inner", *at, *each, repeat)
            # The order's seed knows neither context nor candidate: like ranks train together.
            order = derive(seed, "order", *at, repeat)
            planned.append(
                PlannedTrial(by_id[row.context_id], row.candidate, repeat, edit, inner, order)
            )
    return planned


def seed_parts(place: Place) -> tuple[str, int]:
    """A place as a part of a seed.

    The method is left out: the methods of an evaluation share their seeds, so that differences are
    paired, and where the policy is the same, so is what it writes.
    """
    return str(place.phase), place.round or 0


def marks_of(
    trials: Iterable[Trial], task: AnyTask | None = None, *, graded: bool = False
) -> dict[TrialKey, list[float]]:
    """What the answers of each trial count for, as the task says; without one, each is right or
    wrong on its own.

    Answers without a verdict count for nothing; a trial that has no others is left out.
    """
    marks: dict[TrialKey, list[float]] = {}
    for trial in trials:
        counted = right_or_wrong(trial) if task is None else task.marks(trial, graded=graded)
        # Without any mark a trial is left out, rather than counted as 0.
        if trial.answers and counted:
            marks[trial.key] = counted
    return marks


def right_or_wrong(trial: Trial) -> list[float]:
    """1 for each right answer, 0 for each wrong one; those without a verdict are left out."""
    return [float(answer.correct) for answer in trial.answers if answer.correct is not None]


def accuracies(
    trials: Iterable[Trial], task: AnyTask | None = None, *, graded: bool = False
) -> dict[CandidateKey, float]:
    """Accuracy of every candidate: the mean over repeats and what the answers count for (see
    `marks_of`).

    NaN where no answer has a verdict.
    """
    trials = [trial for trial in trials if trial.answers]
    marks: dict[CandidateKey, list[float]] = {
        # Every candidate that answered: without a verdict it is NaN, not missing.
        (trial.context_id, trial.candidate): []
        for trial in trials
    }
    for key, counted in marks_of(trials, task, graded=graded).items():
        marks[key.context_id, key.candidate] += counted
    return {key: sum(values) / len(values) if values else math.nan for key, values in marks.items()}


def likelihoods(trials: Iterable[Trial]) -> dict[CandidateKey, float]:
    """Mean log-likelihood of every candidate's reference answers, over repeats and questions, in
    nats a token.
    """
    values: dict[CandidateKey, list[float]] = {}
    for trial in trials:
        if trial.likelihoods:
            values.setdefault((trial.context_id, trial.candidate), []).extend(
                one.value for one in trial.likelihoods
            )
    return {key: sum(of_key) / len(of_key) for key, of_key in values.items()}


def split_questions(
    trials: Iterable[Trial], contexts: Sequence[Context]
) -> tuple[list[Trial], list[Trial]]:
    """Trials with the answers and likelihoods of their contexts' own questions, and with those of
    all others.
    """
    question_ids = {
        context.id: {question.id for question in context.questions} for context in contexts
    }
    about_context, others = [], []
    for trial in trials:
        # A probe's questions belong to other contexts and stand behind a context's own.
        ids = question_ids[trial.context_id]
        about_context.append(_part(trial, ids, inside=True))
        others.append(_part(trial, ids, inside=False))
    return about_context, others


def _part(trial: Trial, ids: set[str], *, inside: bool) -> Trial:
    answers = tuple(a for a in trial.answers if (a.question_id in ids) == inside)
    likelihoods = tuple(one for one in trial.likelihoods if (one.question_id in ids) == inside)
    return replace(trial, answers=answers, likelihoods=likelihoods)
