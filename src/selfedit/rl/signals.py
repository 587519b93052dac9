"""What self-edits are rewarded for: right answers, the likelihood of the gold answers, or a judge's marks.

``accuracy`` is SEAL's (arXiv 2506.10943). ``loglik`` is the mean over the questions of the mean token log-likelihood of
the reference answer under the adapted model: it costs the inner loop, but no decoding, and has no ties. ``proxy`` is
the paper's cheap substitute: a judge marks the self-edit's text, and no inner loop is run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from selfedit.endpoint import EndpointClient
from selfedit.lm.likelihood import answer_losses
from selfedit.rl.proxy import proxy_marks
from selfedit.rl.score import (
    BASE_GROUP,
    InnerLoop,
    answer_base,
    gold_of,
    likelihood_rows,
    likely,
    score,
)
from selfedit.rl.session import Session, timed
from selfedit.run.ledger import BASE, AnswerRow, InnerKey, TimingRow
from selfedit.tasks.task import Context


def measure_base(session: Session, phase: str, round: int, contexts: Sequence[Context]) -> None:
    """Measure the unadapted model by the run's signal, as far as the signal looks at it."""
    signal = session.settings.rl.reward.signal
    if signal == "accuracy":
        answer_base(session, phase, round, contexts)
    elif signal == "loglik":
        read_base(session, phase, round, contexts)


def measure(session: Session, phase: str, round: int, loops: Sequence[InnerLoop]) -> None:
    """Run the inner loops that the run's signal needs; ``proxy`` needs none."""
    signal = session.settings.rl.reward.signal
    if signal != "proxy":
        score(session, phase, round, loops, ("answers",) if signal == "accuracy" else ("likelihood",))


def measured(session: Session, phase: str, round: int, contexts: Sequence[Context]) -> dict[tuple[str, int], float]:
    """Likelihood or marks of every (context, candidate), and of the unadapted model as `BASE`; NaN if unreadable.

    Marks are shares of the highest possible; the unadapted model has none, so every marked self-edit is above it.
    """
    if session.settings.rl.reward.signal == "loglik":
        return likelihoods(session.run.ledger.answers(likely(phase), round))
    edits = session.run.ledger.self_edits(phase, round)
    with EndpointClient(session.settings.judge.endpoint) as client:
        marks = proxy_marks(client, session.settings.judge, contexts, edits, session.interrupt.check)
    found = {(row.context_id, row.candidate): mark.share for row, mark in zip(edits, marks, strict=True)}
    return found | {(context.id, BASE): 0.0 for context in contexts}


def read_base(session: Session, phase: str, round: int, contexts: Sequence[Context]) -> None:
    """How likely the model as it is finds the gold answers of every context."""
    phase = likely(phase)
    done = session.run.ledger.done(phase, round)
    groups = [contexts[start : start + BASE_GROUP] for start in range(0, len(contexts), BASE_GROUP)]
    for group in groups:
        if all(InnerKey(context.id, BASE, 0) in done for context in group):
            continue
        session.interrupt.check()
        golds = [gold_of(session.task, context, question) for context in group for question in context.questions]
        timings: list[TimingRow] = []
        with timed(timings, phase, round, "reading", len(golds)):
            losses = iter(answer_losses(session.lm, golds, [session.start] * len(golds)))
        rows: list[AnswerRow] = []
        for context in group:
            of_context = [next(losses) for _ in context.questions]
            rows += likelihood_rows(context, InnerKey(context.id, BASE, 0), of_context, phase, round)
        session.run.ledger.add_results([], rows, timings)


def likelihoods(rows: Iterable[AnswerRow]) -> dict[tuple[str, int], float]:
    """Mean log-likelihood of every (context, candidate): the mean over repeats and questions, nats a token."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for row in rows:
        if row.score is not None:
            found[row.context_id, row.candidate].append(row.score)
    return {key: sum(values) / len(values) for key, values in found.items()}
