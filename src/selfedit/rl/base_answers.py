"""What the unadapted model answers, and how likely it finds the reference answers.

An answer is asked for once for each (policy, question): the policy is the same again where a round
kept nothing, and wherever two places ask the same questions before the first round has ended.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from selfedit.lm.generate import Completion
from selfedit.rl.scoring import gold_text, graded_answer, read_golds
from selfedit.rl.session import Session, timed
from selfedit.run.records import (
    Answer,
    KnownAnswer,
    Likelihood,
    Measure,
    Place,
    TimingRow,
    Trial,
    TrialKey,
    answers_in_order,
)
from selfedit.storage.files import fingerprint
from selfedit.tasks.task import Context, Question, reply_to

BASE_GROUP = 8
"""Contexts the unadapted model answers together."""

Asked = tuple[tuple[int, ...], Question, Context]
"""A prompt's ids, the question that its answer is graded by, and that question's context."""


def measure_base(
    session: Session,
    place: Place,
    contexts: Sequence[Context],
    needs: Sequence[Measure] = ("answers",),
    repeat: int = 0,
) -> None:
    """Measure the model as it is on every context's questions; what the ledger has is not done
    again.

    Args:
        session: the run; its model answers on top of what the session stands on.
        place: where the trials belong.
        contexts: what is asked about.
        needs: whether it answers, or says how likely it finds the reference answers, or both.
        repeat: tells apart models that differ by a training seed.
    """
    done = session.run.ledger.done(place)
    # Groups from all contexts, done or not: a resumed run forms the same ones.
    groups = [contexts[start : start + BASE_GROUP] for start in range(0, len(contexts), BASE_GROUP)]
    for group in groups:
        if all(TrialKey(context.id, None, repeat) in done for context in group):
            continue
        session.interrupt.check()
        _measure_group(session, place, group, needs, repeat)


def _measure_group(
    session: Session, place: Place, group: Sequence[Context], needs: Sequence[Measure], repeat: int
) -> None:
    """One group's trials, stored in one transaction."""
    timings: list[TimingRow] = []
    trials = {c.id: Trial(place=place, context_id=c.id, repeat=repeat) for c in group}
    new: list[KnownAnswer] = []
    if "answers" in needs:
        answers, new = _answers(session, place, group, timings)
        trials = {
            name: replace(trial, answers=answers_in_order(answers[name]))
            for name, trial in trials.items()
        }
    if "likelihoods" in needs:
        likelihoods = _likelihoods(session, place, group, timings)
        trials = {
            name: replace(trial, likelihoods=likelihoods[name]) for name, trial in trials.items()
        }
    session.run.ledger.add_trials(trials.values(), timings, new)


def _answers(
    session: Session, place: Place, group: Sequence[Context], timings: list[TimingRow]
) -> tuple[dict[str, list[Answer]], list[KnownAnswer]]:
    """Every context's answers, from what is known and from the model; and those that were not known
    before.
    """
    pairs = [(context, question) for context in group for question in context.questions]
    prompted = [
        (session.task.question(context, question), question, context) for context, question in pairs
    ]
    keys = [question_key(session, *each) for each in prompted]
    # Known under the same weights only: after a round the model is another one.
    known = session.run.ledger.known(session.base, keys)
    missing = [number for number, key in enumerate(keys) if key not in known]
    new: dict[str, KnownAnswer] = {}
    if missing:
        start = time.perf_counter()
        completions = _ask(session, [prompted[number] for number in missing])
        seconds = time.perf_counter() - start
        timings.append(
            TimingRow(place=place, part="answering", seconds=seconds, count=len(missing))
        )
        with timed(timings, place, "grading", len(missing)):
            graded = _graded(
                session,
                [prompted[number] for number in missing],
                completions,
                seconds / len(missing),
            )
        for number, answer in zip(missing, graded, strict=True):
            new[keys[number]] = KnownAnswer(weights=session.base, asked=keys[number], answer=answer)
    answers: dict[str, list[Answer]] = {context.id: [] for context in group}
    for key, (context, question) in zip(keys, pairs, strict=True):
        # An answer that was known took no time here.
        answer = new[key].answer if key in new else replace(known[key].answer, seconds=0.0)
        answers[context.id].append(replace(answer, question_id=question.id))
    return answers, list(new.values())


def question_key(
    session: Session, prompt: Sequence[int], question: Question, context: Context
) -> str:
    """A hash of all that an answer and its grade depend on, the weights apart."""
    decoding, stop = session.task.decoding, session.task.decoding.stop
    # A stop decides how an answer ends, so it is part of what the answer depends on.
    ends = "" if stop is None else f"{type(stop).__qualname__} {stop!r}"
    decoded = [
        list(prompt),
        decoding.max_new_tokens,
        decoding.alphabet,
        ends,
        str(session.lm.dtype),
    ]
    return fingerprint(
        # The grader too: another grader's verdict may not be used again.
        [decoded, list(reply_to(context, question, "")), session.settings.answer.grader]
    )


def _ask(session: Session, prompted: Sequence[Asked]) -> list[Completion]:
    """The unadapted model's answers, equal prompts asked once."""
    # dict.fromkeys keeps the first of equal prompts, in order.
    prompts = list(dict.fromkeys(prompt for prompt, _, _ in prompted))
    under = None if session.start is None else [session.start] * len(prompts)
    completions = session.sampler.generate(prompts, under, **vars(session.task.decoding))
    by_prompt = dict(zip(prompts, completions, strict=True))
    return [by_prompt[prompt] for prompt, _, _ in prompted]


def _graded(
    session: Session, prompted: Sequence[Asked], completions: Sequence[Completion], seconds: float
) -> list[Answer]:
    replies = [
        reply_to(context, q, c.text)
        for (_, q, context), c in zip(prompted, completions, strict=True)
    ]
    grades = session.grader.grade_all(replies)
    return [
        graded_answer(question, completion, grade, seconds)
        for (_, question, _), completion, grade in zip(prompted, completions, grades, strict=True)
    ]


def _likelihoods(
    session: Session, place: Place, group: Sequence[Context], timings: list[TimingRow]
) -> dict[str, tuple[Likelihood, ...]]:
    golds = [
        gold_text(session.task.gold(context, question))
        for context in group
        for question in context.questions
    ]
    with timed(timings, place, "reading", len(golds)):
        # On top of what the session stands on: in a round with earlier passages it has learned
        # them.
        values = iter(session.sampler.log_probabilities(golds, [session.start] * len(golds)))
    return {
        context.id: read_golds(context, [next(values) for _ in context.questions])
        for context in group
    }
