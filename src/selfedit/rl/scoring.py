"""Trials are run: a self-edit is trained on, and the adapted model answers without the context."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from selfedit.engine.base import Done, Trained, TrialBatch
from selfedit.grading.grader import Grade
from selfedit.inner.job import AdaptJob, TrainSequence
from selfedit.lm.generate import Completion
from selfedit.lm.likelihood import Gold
from selfedit.rl.grouping import choose_group, form_groups, turns
from selfedit.rl.progress_rows import follow_group
from selfedit.rl.session import Session, timed
from selfedit.rl.trial import PlannedTrial
from selfedit.run.records import (
    Answer,
    Likelihood,
    Measure,
    Place,
    TimingRow,
    Training,
    Trial,
    TrialKey,
    answers_in_order,
)
from selfedit.sampling.answering import answerer
from selfedit.storage.files import fingerprint
from selfedit.tasks.task import Context, Question, reply_to

Jobs = Mapping[TrialKey, AdaptJob | None]


def run_trials(
    session: Session,
    place: Place,
    planned: Sequence[PlannedTrial],
    needs: Sequence[Measure] = ("answers",),
) -> None:
    """Run trials in groups, trained and measured together; a group is stored whole.

    Groups are made of inner loops of like length from all that the place has, done or not, so that
    a resumed run forms the same groups, and so gets the same bits, as one that was never stopped.

    Args:
        session: the run.
        place: where the trials belong.
        planned: the trials.
        needs: whether an adapted model answers, or says how likely it finds the reference answers,
            or both.
    """
    done = session.run.ledger.done(place)
    jobs = {trial.key: _job(session, trial) for trial in planned}
    ordered = sorted(
        # By order seed first: loops that share their order train without padding.
        planned,
        key=lambda trial: (trial.order_seed, -_job_tokens(jobs[trial.key]), trial.key),
    )
    # Chosen once and kept: how much memory is free must not change what is packed together.
    most = choose_group(session, str(place), [job for job in jobs.values() if job is not None])
    groups = form_groups(ordered, most * turns(session.lm.device), session.engine.workers)
    total = sum(_job_tokens(job) for job in jobs.values())
    finished = sum(_job_tokens(jobs[trial.key]) for trial in planned if trial.key in done)
    # A group is stored whole; after a resume with other workers or another size, new groups hold
    # some trials that are done.
    left = [[trial for trial in group if trial.key not in done] for group in groups]
    todo = [group for group in left if group]
    batches = [_batch(session, group, jobs, needs, rows=most) for group in todo]
    idle = Idle(session.engine.workers)
    with session.progress.task(
        f"inner loops ({place})", total=total, unit="tokens", done=finished
    ) as task:
        for index, result in session.engine.run(batches, task.advance, session.interrupt.check):
            waited = idle.after(result.adapting + result.answering + result.reading)
            _store(session, _Group(place, todo[index], jobs, result), waited, needs)


@dataclass(frozen=True)
class _Group:
    """A finished group: where it belongs, what was planned, and what came of it."""

    place: Place
    planned: Sequence[PlannedTrial]
    jobs: Jobs
    result: Done


class Idle:
    """For how long workers had nothing to do, told group by group.

    Times of a part are those of the run, not of its workers: N workers busy together for a second
    are one second. So what the groups of a place were waited for is the wall time less an N-th of
    the seconds that workers were busy. One group's value may be negative, while others are in hand;
    the sum over a place is not.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        # The group that was in hand when the process began has no finish before it.
        self._last = time.perf_counter()

    def after(self, busy: float) -> float:
        """Seconds waited since the last group was finished, after one that took its worker ``busy``
        seconds.
        """
        last, self._last = self._last, time.perf_counter()
        return self._last - last - busy / self._workers


def _batch(
    session: Session,
    group: Sequence[PlannedTrial],
    jobs: Jobs,
    needs: Sequence[Measure],
    rows: int | None = None,
) -> TrialBatch:
    task = session.task
    prompts: list[tuple[tuple[int, ...], ...]] = []
    golds: list[tuple[Gold, ...]] = []
    for trial in group:
        context = trial.context
        questions = context.questions if "answers" in needs else ()
        golds_of = context.questions if "likelihoods" in needs else ()
        prompts.append(tuple(task.question(context, question) for question in questions))
        golds.append(tuple(gold_text(task.gold(context, question)) for question in golds_of))
    chosen = tuple(jobs[trial.key] for trial in group)
    # The whole batch at once: what is asked of it crosses to a worker in one message.
    return TrialBatch(
        chosen,
        tuple(prompts),
        golds=tuple(golds),
        rows=rows,
        answering=answerer(session.settings),
        **vars(task.decoding),
    )


def _job(session: Session, trial: PlannedTrial) -> AdaptJob | None:
    """The training that the task makes of a self-edit, on top of what the session starts from."""
    job = session.task.inner_loop(trial.context, trial.edit, trial.seed, trial.order_seed)
    # None trains nothing; else on top of what the session stands on.
    return job if job is None or session.start is None else replace(job, start=session.start)


def _job_tokens(job: AdaptJob | None) -> int:
    if job is None:
        return 0
    # Strings are tokenised in the worker; tasks give sequences.
    return job.optim.epochs * sum(len(s.ids) for s in job.sequences if not isinstance(s, str))


def _store(session: Session, group: _Group, waited: float, needs: Sequence[Measure]) -> None:
    """Store all of a finished group in one transaction."""
    workers, count, result = session.engine.workers, len(group.planned), group.result
    timings = [
        TimingRow(
            # Seconds of the run: N workers busy for a second are one second of it.
            place=group.place,
            part="adapting",
            seconds=result.adapting / workers,
            count=count,
        )
    ]
    if workers > 1:  # one process waits for nobody
        timings.append(TimingRow(place=group.place, part="waiting", seconds=waited, count=count))
    trials = _trained(group)
    if "answers" in needs:
        answers = _answered(session, group, timings)
        trials = [
            replace(trial, answers=of_trial)
            for trial, of_trial in zip(trials, answers, strict=True)
        ]
    if "likelihoods" in needs:
        count_read = sum(len(trained.gold_losses) for trained in result.loops)
        timings.append(
            TimingRow(
                place=group.place,
                part="reading",
                seconds=result.reading / workers,
                count=count_read,
            )
        )
        trials = [
            replace(
                trial,
                # A loss is the negative log-likelihood.
                likelihoods=read_golds(planned.context, [-loss for loss in trained.gold_losses]),
            )
            for trial, planned, trained in zip(trials, group.planned, result.loops, strict=True)
        ]
    # Before the ledger has them: should a kill come between, the group is done again and its line,
    # which is there already, is not.
    follow_group(session.run, trials, [trained.losses for trained in group.result.loops])
    session.run.ledger.add_trials(trials, timings)


def _trained(group: _Group) -> list[Trial]:
    """The group's trials with their trainings; its seconds go to them by their tokens."""
    total = max(1, sum(trained.tokens for trained in group.result.loops))
    trials = []
    for planned, trained in zip(group.planned, group.result.loops, strict=True):
        # By tokens: a group trains as one, so nobody's own seconds are known.
        seconds = group.result.adapting * trained.tokens / total
        training = _training(planned, group.jobs[planned.key], trained, seconds)
        key = planned.key
        trials.append(
            Trial(
                place=group.place,
                context_id=key.context_id,
                candidate=key.candidate,
                repeat=key.repeat,
                training=training,
            )
        )
    return trials


def _training(
    planned: PlannedTrial, job: AdaptJob | None, trained: Trained, seconds: float
) -> Training:
    losses = trained.losses
    # The last epoch's losses: the first epochs' say how hard the text was.
    last = losses[-(job.steps // job.optim.epochs) :] if job else []
    return Training(
        seed=planned.seed,
        steps=len(losses),
        tokens=trained.tokens,
        final_loss=sum(last) / len(last) if last else math.nan,
        seconds=seconds,
        settings_hash=fingerprint([job.lora, job.optim] if job else []),
    )


def _answered(
    session: Session, group: _Group, timings: list[TimingRow]
) -> list[tuple[Answer, ...]]:
    """Each trial's graded answers."""
    pairs = [
        (planned.context, question, completion)
        for planned, trained in zip(group.planned, group.result.loops, strict=True)
        for question, completion in zip(planned.context.questions, trained.answers, strict=True)
    ]
    count, answering = len(pairs), group.result.answering
    wall = answering / session.engine.workers
    timings.append(TimingRow(place=group.place, part="answering", seconds=wall, count=count))
    with timed(timings, group.place, "grading", count):
        grades = session.grader.grade_all([reply_to(context, q, c.text) for context, q, c in pairs])
    graded = iter(
        graded_answer(q, c, grade, answering / count)
        for (_, q, c), grade in zip(pairs, grades, strict=True)
    )
    return [
        answers_in_order([next(graded) for _ in planned.context.questions])
        for planned in group.planned
    ]


def graded_answer(
    question: Question, completion: Completion, grade: Grade, seconds: float
) -> Answer:
    """What a model wrote to a question, with its grade, as the ledger keeps it."""
    return Answer(
        question_id=question.id,
        text=completion.text,
        tokens=len(completion.ids),
        correct=grade.correct,
        score=grade.score,
        grader=grade.method,
        seconds=seconds,
    )


def gold_text(sequence: TrainSequence) -> Gold:
    """A question with its reference answer, as its likelihood is asked for."""
    return tuple(sequence.ids), tuple(sequence.loss)


def read_golds(context: Context, values: Sequence[float]) -> tuple[Likelihood, ...]:
    """How likely each question's reference answer is, as a `Trial` keeps it."""
    pairs = zip(context.questions, values, strict=True)
    likelihoods = {
        question.id: Likelihood(question_id=question.id, value=value) for question, value in pairs
    }
    # By bytes: the order must not depend on a locale, and names may hold lone surrogates.
    return tuple(
        likelihoods[name]
        for name in sorted(likelihoods, key=lambda name: name.encode("utf-8", "surrogatepass"))
    )
