"""What the knowledge experiments end with: the methods of one table as results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfedit.results.compare import compare, on_shared
from selfedit.results.results import Published, Reference, Results
from selfedit.rl.evaluate import trials_of, undecided
from selfedit.rl.session import AnySession
from selfedit.run.records import Trial
from selfedit.tasks.knowledge.published import SOURCE
from selfedit.tasks.knowledge.second_opinion import GradedAnswer, second_opinion
from selfedit.tasks.task import Context


def method_results(
    kind: str,
    session: AnySession,
    scores: Mapping[str, Mapping[str, float]],
    hashes: Mapping[str, str],
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    published: Mapping[str, Reference] | None = None,
    published_pairs: Mapping[tuple[str, str], Reference] | None = None,
    questioned: Sequence[Context] = (),
    more: Mapping[str, Any] | None = None,
) -> Results:
    """The results of methods measured on held-out passages, and what ``more`` an experiment found.

    With the passages that were asked about (``questioned``), all answers are graded a second time,
    and so are tricks.

    No times and no dates: equal runs give equal bytes.
    """
    compared = compare(on_shared(scores), pairs)
    second = None
    if questioned and scores:
        trials = trials_of(session.run.ledger, scores)
        answers = {method: answers_of(of_method) for method, of_method in trials.items()}
        second = second_opinion(session.grader, questioned, answers)
    return Results(
        experiment=kind,
        rows=compared.rows,
        paired=compared.paired,
        published=Published(SOURCE, published or {}, published_pairs or {}),
        contexts=scores,
        model={"name": session.settings.model, "fingerprint": session.lm.fingerprint},
        grader=session.settings.answer.grader,
        data=hashes,
        settings=session.settings.model_dump(mode="json"),
        notes=second.notes if second else (),
        tables=second.tables if second else (),
        more={
            "no_verdict": undecided(session.run.ledger, scores),
            **(second.more if second else {}),
            **(more or {}),
        },
    )


def answers_of(trials: Sequence[Trial]) -> list[GradedAnswer]:
    """Every answer of stored trials."""
    answers: list[GradedAnswer] = []
    for trial in trials:
        answers += [
            GradedAnswer(trial.context_id, answer.question_id, answer.text, answer.correct)
            for answer in trial.answers
        ]
    return answers
