"""RL without labels: contexts get the questions that the model writes and answers itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from selfedit.errors import DataError, UsageError
from selfedit.rl.sample import sampled, written_row
from selfedit.rl.session import Session
from selfedit.run.records import Phase, Place, SelfEditRow
from selfedit.run.seeds import derive
from selfedit.tasks.knowledge.own_questions import (
    OwnQuestion,
    hidden_prompt,
    judge,
    quiz_prompt,
    read_quiz,
    shown_prompt,
)
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context, Question

PLACE = Place(Phase.OWN_QUESTIONS)
GROUP = 4
"""Contexts whose questions are written and answered together, and stored together."""


def with_own_questions(session: Session, contexts: Sequence[Context]) -> list[Context]:
    """The contexts with the model's own questions in place of theirs; what the ledger has is not
    done again.

    A context may end with none: the model wrote nothing usable about it.
    """
    groups = [contexts[start : start + GROUP] for start in range(0, len(contexts), GROUP)]
    ledger = session.run.ledger
    # A group is done when all of its contexts are: they are stored together.
    done = [
        all(ledger.step(_step_name(context)) is not None for context in group) for group in groups
    ]
    with session.progress.task(
        "writing own questions",
        total=len(contexts),
        unit="passages",
        done=sum(len(group) for group, ready in zip(groups, done, strict=True) if ready),
    ) as counter:
        for group, ready in zip(groups, done, strict=True):
            if not ready:
                session.interrupt.check()
                _write_group(session, group)
                counter.advance(len(group))
    return [replace(context, questions=_kept(session, context)) for context in contexts]


def plan_with_own_questions(
    session: Session, plan: Sequence[Sequence[Context]], every: Sequence[Context]
) -> tuple[list[list[Context]], list[Context]]:
    """A plan of rounds and all contexts it may draw on, with own questions; contexts that have none
    are left out.

    Only the contexts that are used get any: all of them if the reward asks for retention.

    Raises:
        DataError: a round would have no context left.
        UsageError: the task has no passages to ask about.
    """
    if not isinstance(session.task, KnowledgeTask):
        raise UsageError(
            "own questions are for passages only",
            where="rl.questions",
            fix="set rl.questions = gold",
        )
    # A reward with retention draws earlier passages from all of them.
    used = every if session.settings.rl.reward.retention else [c for chosen in plan for c in chosen]
    questioned = with_own_questions(
        session, list({context.id: context for context in used}.values())
    )
    usable = {context.id: context for context in questioned if context.questions}
    rounds = [[usable[c.id] for c in chosen if c.id in usable] for chosen in plan]
    if not all(rounds):
        fix = (
            "raise rl.own.quizzes or rl.own.known, lower rl.own.agree, or give passages with"
            " questions"
        )
        raise DataError(
            "no question that the model wrote is usable",
            where=f"{len(questioned)} passages",
            fix=fix,
        )
    return rounds, list(usable.values())


def survivors(session: Session, contexts: Sequence[Context]) -> dict[str, Any]:
    """How many questions were written and kept, and why the others were not."""
    written = [question for context in contexts for question in _stored(session, context)]
    kept = sum(question.rejected is None for question in written)
    reasons = Counter(question.rejected for question in written if question.rejected is not None)
    per_context = [len(_kept(session, context)) for context in contexts]
    return {
        "written": len(written),
        "kept": kept,
        "rejected": dict(sorted(reasons.items())),
        "passages": len(contexts),
        "passages_without": per_context.count(0),
        "kept_per_passage": sum(per_context) / len(per_context),
    }


def _step_name(context: Context) -> str:
    return f"{PLACE}/{context.id}"


def _stored(session: Session, context: Context) -> list[OwnQuestion]:
    return [
        OwnQuestion(**values)
        for values in (session.run.ledger.step(_step_name(context)) or {"questions": []})[
            "questions"
        ]
    ]


def _kept(session: Session, context: Context) -> tuple[Question, ...]:
    # Rejected ones stay in the ledger: the results say how many, and why.
    kept = [question for question in _stored(session, context) if question.rejected is None]
    chosen = kept[: session.settings.rl.own.most]
    return tuple(
        Question(f"{context.id}/own{n}", q.question, (q.answer,))
        for n, q in enumerate(chosen, start=1)
    )


def _write_group(session: Session, group: Sequence[Context]) -> None:
    """Write, answer and judge the questions of some contexts; stored in one transaction."""
    rows, written = _quizzes(session, group)
    triples = [
        (context, question, answer)
        for context, pairs in zip(group, written, strict=True)
        for question, answer in pairs
    ]
    informed, uninformed = (
        _sampled_answers(session, triples, make, name)
        for make, name in ((shown_prompt, "shown"), (hidden_prompt, "hidden"))
    )
    settings = session.settings.rl.own
    judged: dict[str, list[OwnQuestion]] = {context.id: [] for context in group}
    for (context, question, answer), with_passage, without in zip(
        triples, informed, uninformed, strict=True
    ):
        judged[context.id].append(
            judge(question, answer, with_passage, without, session.grader, settings)
        )
    ledger = session.run.ledger
    # Quizzes and what became of them in one transaction: a kill leaves none half judged.
    with ledger.transaction():
        ledger.add_self_edits(rows)
        for context in group:
            ledger.finish_step(
                _step_name(context), {"questions": [q.as_dict() for q in judged[context.id]]}
            )


def _quizzes(
    session: Session, group: Sequence[Context]
) -> tuple[list[SelfEditRow], list[list[tuple[str, str]]]]:
    """The quizzes of each context as they go into the ledger, and their different questions."""
    count = session.settings.rl.own.quizzes
    places = [(context, number) for context in group for number in range(count)]
    seeds = [
        derive(session.settings.seed, PLACE.phase.value, context.id, number)
        for context, number in places
    ]
    prompts = [quiz_prompt(session.task, context) for context, _ in places]
    written = sampled(session, prompts, seeds)
    rows, pairs = [], {context.id: {} for context in group}
    for (context, number), seed, prompt, quiz in zip(places, seeds, prompts, written, strict=True):
        parsed = read_quiz(session.task, quiz.text)
        for question, answer in parsed:
            # The first answer to a question counts, however often it is asked again.
            pairs[context.id].setdefault(question, answer)
        rejected = None if parsed else "no question with an answer"
        rows.append(written_row(PLACE, context, number, prompt, seed, quiz, rejected))
    return rows, [list(pairs[context.id].items()) for context in group]


def _sampled_answers(
    session: Session, triples: Sequence[tuple[Context, str, str]], make: Any, name: str
) -> list[list[str]]:
    """Several sampled answers to each question, with the prompt that ``make`` makes."""
    settings, seed, purpose = session.settings.rl.own, session.settings.seed, PLACE.phase.value
    if not triples:
        return []
    prompts = [
        # Votes of one question side by side: `texts` is cut up by them below.
        make(session.task, context, question)
        for context, question, _ in triples
        for _ in range(settings.votes)
    ]
    seeds = [
        derive(seed, purpose, name, c.id, question, vote)
        for c, question, _ in triples
        for vote in range(settings.votes)
    ]
    completions = session.sampler.generate(
        prompts,
        max_new_tokens=session.settings.answer.max_new_tokens,
        temperature=settings.temperature,
        seeds=seeds,
    )
    texts = [answer.text for answer in completions]
    return [texts[start : start + settings.votes] for start in range(0, len(texts), settings.votes)]
