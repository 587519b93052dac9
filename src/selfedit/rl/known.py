"""What the unadapted model answers, once for each (weights, question): asked again, it is looked up.

The weights are the same again where a round kept nothing, where the policy is an adapter of its own
(``rl.mstep.merge = false``), and wherever two phases ask the same questions before the first merge.
"""

from __future__ import annotations

from collections.abc import Sequence

from selfedit.grading.grader import Reply
from selfedit.lm.generate import Completion, generate
from selfedit.rl.session import Session
from selfedit.run.ledger import BASE, AnswerRow, KnownRow
from selfedit.storage.files import fingerprint
from selfedit.tasks.task import Context, Question

Asked = tuple[tuple[int, ...], Question]
"""A prompt's ids and the question that its answer is graded by."""


def key(session: Session, prompt: Sequence[int], question: Question) -> str:
    """A hash of all that an answer and its grade depend on, the weights apart."""
    decoding, stop = session.task.decoding, session.task.decoding.stop
    ends = "" if stop is None else f"{type(stop).__qualname__} {stop!r}"
    decoded = [list(prompt), decoding.max_new_tokens, decoding.alphabet, ends, str(session.lm.dtype)]
    return fingerprint([decoded, question.text, list(question.answers), session.settings.answer.grader])


def look_up(session: Session, asked: Sequence[Asked]) -> list[KnownRow | None]:
    """What is known of each question; None where it has to be asked."""
    known = session.run.ledger.known(session.base)
    return [known.get(key(session, prompt, question)) for prompt, question in asked]


def ask(session: Session, asked: Sequence[Asked]) -> list[Completion]:
    """The unadapted model's answers, equal prompts asked once."""
    prompts = list(dict.fromkeys(prompt for prompt, _ in asked))
    under = None if session.start is None else [session.start] * len(prompts)
    said = generate(session.lm, prompts, under, **vars(session.task.decoding)) if prompts else []
    by_prompt = dict(zip(prompts, said, strict=True))
    return [by_prompt[prompt] for prompt, _ in asked]


def graded(session: Session, asked: Sequence[Asked], said: Sequence[Completion]) -> list[KnownRow]:
    """New answers with their grades, to be known from now on."""
    replies = [Reply(q.text, q.answers, answer.text) for (_, q), answer in zip(asked, said, strict=True)]
    return [
        KnownRow(
            weights=session.base,
            asked=key(session, prompt, question),
            text=answer.text,
            tokens=len(answer.ids),
            correct=grade.correct,
            score=grade.score,
            grader=grade.method,
        )
        for (prompt, question), answer, grade in zip(asked, said, session.grader.grade_all(replies), strict=True)
    ]


def answer_row(
    row: KnownRow, phase: str, round: int, context: Context, question: Question, seconds: float
) -> AnswerRow:
    """A known answer as the base's answer in a phase."""
    return AnswerRow(
        phase=phase,
        round=round,
        context_id=context.id,
        candidate=BASE,
        repeat=0,
        question_id=question.id,
        text=row.text,
        tokens=row.tokens,
        correct=row.correct,
        score=row.score,
        grader=row.grader,
        seconds=seconds,
    )
