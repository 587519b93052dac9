"""E-step, second half: every self-edit is trained on, and the adapted model answers without the passage."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from selfedit.engine.base import Done, Trained, TrialBatch
from selfedit.errors import UsageError
from selfedit.grading.grader import Reply
from selfedit.inner.job import AdaptJob
from selfedit.lm.likelihood import Gold
from selfedit.rl import known
from selfedit.rl.groups import choose_group, form_groups
from selfedit.rl.loops import InnerLoop
from selfedit.rl.session import Session, timed
from selfedit.run.ledger import BASE, AdaptationRow, AnswerRow, InnerKey, KnownRow, TimingRow
from selfedit.storage.files import fingerprint
from selfedit.tasks.task import Context, Question, Task

BASE_GROUP = 8
"""Contexts the unadapted model answers together."""

Ask = Literal["answers", "likelihood"]


def likely(phase: str) -> str:
    """The phase under which the gold answers' likelihoods of another phase are kept."""
    return f"{phase}:loglik"


def answer_base(session: Session, phase: str, round: int, contexts: Sequence[Context]) -> None:
    """Let the model as it is answer every context's questions; once for each (weights, question) of the whole run."""
    done = session.run.ledger.done(phase, round)
    groups = [contexts[start : start + BASE_GROUP] for start in range(0, len(contexts), BASE_GROUP)]
    for group in groups:
        if all(InnerKey(context.id, BASE, 0) in done for context in group):
            continue
        session.interrupt.check()
        answer_known(session, phase, round, group)


def answer_known(session: Session, phase: str, round: int, group: Sequence[Context]) -> None:
    """One group's base answers, from what is known and from the model, stored in one transaction."""
    pairs = [(context, question) for context in group for question in context.questions]
    asked = [(session.task.question(context, question), question) for context, question in pairs]
    found = known.look_up(session, asked)
    missing = [place for place, row in enumerate(found) if row is None]
    timings: list[TimingRow] = []
    new: dict[str, KnownRow] = {}
    if missing:
        start = time.perf_counter()
        said = known.ask(session, [asked[place] for place in missing])
        seconds = time.perf_counter() - start
        timings.append(TimingRow(phase=phase, round=round, part="answering", seconds=seconds, count=len(missing)))
        with timed(timings, phase, round, "grading", len(missing)):
            for place, row in zip(missing, known.graded(session, [asked[n] for n in missing], said), strict=True):
                found[place] = new[row.asked] = row
    each = timings[0].seconds / len(missing) if missing else 0.0
    rows = [
        known.answer_row(row, phase, round, context, question, each if place in missing else 0.0)
        for place, ((context, question), row) in enumerate(zip(pairs, found, strict=True))
        if row is not None
    ]
    session.run.ledger.add_results([], rows, timings, new.values())


def score(
    session: Session, phase: str, round: int, loops: Sequence[InnerLoop], ask: tuple[Ask, ...] = ("answers",)
) -> None:
    """Run inner loops in groups, trained and answered together; a group is stored whole, with its answers and grades.

    Groups are made of loops of like length from all that the phase has, done or not, so that a resumed run forms the
    same groups, and so gets the same bits, as one that was never stopped.

    ``ask`` says what an adapted model is asked: to answer, or how likely it finds the gold answers (kept under
    ``likely(phase)``, see `selfedit.rl.signals`), or both of the same adapters.
    """
    done = session.run.ledger.done(phase if "answers" in ask else likely(phase), round)
    jobs = {loop.key: _job(session, loop) for loop in loops}
    ordered = sorted(loops, key=lambda loop: (loop.order_seed, -_tokens(jobs[loop.key]), loop.key))
    most = choose_group(session, f"{phase} {round}", [job for job in jobs.values() if job is not None])
    groups = form_groups(ordered, most, session.settings.workers)
    total = sum(_tokens(job) for job in jobs.values())
    finished = sum(_tokens(jobs[loop.key]) for loop in loops if loop.key in done)
    todo = [group for group in groups if group[0].key not in done]
    works = [_work(session, group, jobs, ask) for group in todo]
    idle = Idle(session.settings.workers)
    with session.progress.task(f"inner loops ({phase})", total=total, unit="tokens", done=finished) as task:
        for index, result in session.engine.run(works, task.advance, session.interrupt.check):
            waited = idle.after(result.adapting + result.answering + result.reading)
            _store(session, phase, round, todo[index], jobs, result, waited, ask)


class Idle:
    """For how long workers had nothing to do, told group by group.

    Times of a part are those of the run, not of its workers: N workers busy together for a second are one second. So
    what the groups of a phase were waited for is the wall time less an N-th of the seconds that workers were busy. One
    group's value may be negative, while others are in hand; the sum over a phase is not.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._last = time.perf_counter()

    def after(self, busy: float) -> float:
        """Seconds waited since the last group was finished, after one that took its worker ``busy`` seconds."""
        last, self._last = self._last, time.perf_counter()
        return self._last - last - busy / self._workers


def _work(
    session: Session, group: Sequence[InnerLoop], jobs: Mapping[InnerKey, AdaptJob | None], ask: tuple[Ask, ...]
) -> TrialBatch:
    asked = [loop.context.questions if "answers" in ask else () for loop in group]
    read = [loop.context.questions if "likelihood" in ask else () for loop in group]
    task = session.task
    questions = tuple(tuple(task.question(loop.context, q) for q in of) for loop, of in zip(group, asked, strict=True))
    golds = tuple(tuple(gold_of(task, loop.context, q) for q in of) for loop, of in zip(group, read, strict=True))
    chosen = tuple(jobs[loop.key] for loop in group)
    return TrialBatch(chosen, questions, golds=golds, **vars(task.decoding))


def gold_of(task: Task[Any], context: Context, question: Question) -> Gold:
    """A question with its reference answer, as `answer_losses` takes it.

    Raises:
        UsageError: the task's questions have no answer in words.
    """
    gold = getattr(task, "gold", None)
    if gold is None:
        what = "this task has no gold answers whose likelihood could be a reward"
        raise UsageError(what, where="rl.reward.signal", fix="set rl.reward.signal = accuracy")
    sequence = gold(context, question)
    return tuple(sequence.ids), tuple(sequence.loss)


def _store(
    session: Session,
    phase: str,
    round: int,
    group: Sequence[InnerLoop],
    jobs: Mapping[InnerKey, AdaptJob | None],
    result: Done,
    waited: float,
    ask: tuple[Ask, ...],
) -> None:
    """Store all of a finished group in one transaction; what it was trained for twice has its seconds once."""
    workers, count = session.settings.workers, len(group)
    spent = [("adapting", result.adapting / workers), ("waiting", waited)]
    seconds = result.adapting
    with session.run.ledger.transaction():
        for kind in ask:
            where = phase if kind == "answers" else likely(phase)
            trained = zip(group, result.loops, strict=True)
            rows = [_adaptation(loop, jobs[loop.key], done, where, round) for loop, done in trained]
            # One process waits for nobody.
            timings = [
                TimingRow(phase=where, round=round, part=part, seconds=of, count=count)
                for part, of in (spent if workers > 1 else spent[:1])
            ]
            answers = (_graded if kind == "answers" else _read)(session, where, round, group, result, timings)
            session.run.ledger.add_results(_share_seconds(rows, seconds), answers, timings)
            seconds, spent = 0.0, []


def _read(
    session: Session, phase: str, round: int, group: Sequence[InnerLoop], result: Done, timings: list[TimingRow]
) -> list[AnswerRow]:
    """How likely the gold answers were after each inner loop of a finished group."""
    pairs = list(zip(group, result.loops, strict=True))
    count = sum(len(trained.gold_losses) for _, trained in pairs)
    wall = result.reading / session.settings.workers
    timings.append(TimingRow(phase=phase, round=round, part="reading", seconds=wall, count=count))
    read = [likelihood_rows(loop.context, loop.key, trained.gold_losses, phase, round) for loop, trained in pairs]
    return [row for of in read for row in of]


def likelihood_rows(
    context: Context, key: InnerKey, losses: Sequence[float], phase: str, round: int
) -> list[AnswerRow]:
    """The mean token log-likelihood of each question's reference answer, as graded answers without text or verdict."""
    return [
        AnswerRow(
            phase=phase,
            round=round,
            context_id=context.id,
            candidate=key.candidate,
            repeat=key.repeat,
            question_id=question.id,
            text="",
            tokens=0,
            score=-loss,
            grader="loglik",
            seconds=0.0,
        )
        for question, loss in zip(context.questions, losses, strict=True)
    ]


def _job(session: Session, loop: InnerLoop) -> AdaptJob | None:
    """The training that the task makes of a self-edit, on top of what the session starts from."""
    job = session.task.inner_loop(loop.context, loop.edit, loop.seed, loop.order_seed)
    return job if job is None or session.start is None else replace(job, start=session.start)


def _tokens(job: AdaptJob | None) -> int:
    if job is None:
        return 0
    return job.optim.epochs * sum(len(s.ids) for s in job.sequences if not isinstance(s, str))


def _adaptation(loop: InnerLoop, job: AdaptJob | None, trained: Trained, phase: str, round: int) -> AdaptationRow:
    losses = trained.losses
    last = losses[-(job.steps // job.optim.epochs) :] if job else []
    return AdaptationRow(
        phase=phase,
        round=round,
        context_id=loop.context.id,
        candidate=loop.candidate,
        repeat=loop.repeat,
        seed=loop.seed,
        steps=len(losses),
        tokens=trained.tokens,
        final_loss=sum(last) / len(last) if last else math.nan,
        seconds=0.0,
        settings_hash=fingerprint([job.lora, job.optim] if job else []),
    )


def _share_seconds(rows: Iterable[AdaptationRow], seconds: float) -> list[AdaptationRow]:
    """A group's seconds go to its loops by their tokens."""
    rows = list(rows)
    total = max(1, sum(row.tokens for row in rows))
    return [replace(row, seconds=seconds * row.tokens / total) for row in rows]


def _graded(
    session: Session, phase: str, round: int, group: Sequence[InnerLoop], result: Done, timings: list[TimingRow]
) -> list[AnswerRow]:
    """The graded answers to every context's questions after each inner loop of a finished group."""
    entries = [
        (loop, question, answer)
        for loop, trained in zip(group, result.loops, strict=True)
        for question, answer in zip(loop.context.questions, trained.answers, strict=True)
    ]
    count = len(entries)
    wall = result.answering / session.settings.workers
    timings.append(TimingRow(phase=phase, round=round, part="answering", seconds=wall, count=count))
    with timed(timings, phase, round, "grading", count):
        grades = session.grader.grade_all([Reply(q.text, q.answers, answer.text) for _, q, answer in entries])
    return [
        AnswerRow(
            phase=phase,
            round=round,
            context_id=loop.context.id,
            candidate=loop.candidate,
            repeat=loop.repeat,
            question_id=question.id,
            text=answer.text,
            tokens=len(answer.ids),
            correct=grade.correct,
            score=grade.score,
            grader=grade.method,
            seconds=result.answering / count,
        )
        for (loop, question, answer), grade in zip(entries, grades, strict=True)
    ]


def accuracies(
    rows: Iterable[AnswerRow], task: Task[Any] | None = None, *, graded: bool = False
) -> dict[tuple[str, int], float]:
    """Accuracy of every (context, candidate): the mean over repeats and what the answers count for (see `marks_of`).

    NaN where no answer has a verdict.
    """
    rows = list(rows)
    found: dict[tuple[str, int], list[float]] = {(row.context_id, row.candidate): [] for row in rows}
    for (context, candidate, _), marks in marks_of(rows, task, graded=graded).items():
        found[context, candidate] += marks
    return {key: sum(marks) / len(marks) if marks else math.nan for key, marks in found.items()}


def marks_of(
    rows: Iterable[AnswerRow], task: Task[Any] | None = None, *, graded: bool = False
) -> dict[InnerKey, list[float]]:
    """What the answers after each inner loop count for, as the task says; without one, each is right or wrong.

    Answers without a verdict count for nothing; an inner loop that has no others is left out.
    """
    answers: dict[InnerKey, list[AnswerRow]] = defaultdict(list)
    for row in rows:
        answers[row.key].append(row)
    if task is None:
        marks = {key: [float(row.correct) for row in of if row.correct is not None] for key, of in answers.items()}
    else:
        marks = {key: task.marks(of, graded=graded) for key, of in answers.items()}
    return {key: of for key, of in marks.items() if of}
