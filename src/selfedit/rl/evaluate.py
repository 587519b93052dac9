"""What a run has taught: the held-out contexts under each method."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from selfedit.errors import UsageError
from selfedit.lm.lora import Adapter
from selfedit.rl.base_answers import measure_base
from selfedit.rl.sample import sample
from selfedit.rl.scoring import run_trials
from selfedit.rl.session import AnySession, Session
from selfedit.rl.trial import PlannedTrial, marks_of
from selfedit.run.ledger import Ledger
from selfedit.run.records import Phase, Place, Trial
from selfedit.run.seeds import derive
from selfedit.tasks.task import AnyTask, Context

METHODS: dict[str, str] = {
    "base": "the model as it is",
    "passage": "trained on the passage only",
    "own": "passage + own self-edits, before RL",
    "seal": "passage + own self-edits, after RL (SEAL)",
    "gold": "passage + the questions' own facts (upper reference: it has seen the answers)",
}
"""Every method and what it is, from least to most."""


def held_out(method: str) -> Place:
    """Where a method's held-out trials are in the ledger."""
    return Place(Phase.EVAL, method)


def check_methods(methods: Sequence[str], known: Mapping[str, str] = METHODS) -> None:
    """Raise UsageError for an unknown method."""
    if unknown := [method for method in methods if method not in known]:
        raise UsageError(
            f"unknown method {unknown[0]!r}",
            where="eval.methods",
            fix=f"choose among {', '.join(known)}",
        )


def evaluate(
    session: AnySession, method: str, contexts: Sequence[Context], policy: Adapter | None = None
) -> None:
    """Answer the contexts' questions by one method; what the ledger has is not done again."""
    place: Place = held_out(method)
    # Nothing is trained for the base: its answers may be known already.
    if method == "base":
        return measure_base(session, place, contexts)
    return run_edits(session, place, _edits(session, method, place, contexts, policy))


def run_edits(session: Session, place: Place, edits: Sequence[tuple[Context, int, Any]]) -> None:
    """Train on each self-edit (of a context, under a candidate number) as often as ``eval.repeats``
    says, and answer.

    The inner seed of a context, sample and repeat is the same for every method, so that differences
    are paired.
    """
    settings, planned = session.settings, []
    for context, candidate, edit in edits:
        for repeat in range(settings.eval.repeats):
            # Neither the method nor the policy is in the seed: that is what makes differences
            # paired.
            seed = derive(settings.seed, "inner", "eval", context.id, candidate, repeat)
            order_seed = derive(settings.seed, "order", "eval", candidate, repeat)
            planned.append(PlannedTrial(context, candidate, repeat, edit, seed, order_seed))
    return run_trials(session, place, planned)


def _edits(
    session: Session, method: str, place: Place, contexts: Sequence[Context], policy: Adapter | None
) -> list[tuple[Context, int, Any]]:
    samples = session.settings.eval.samples
    if method in ("own", "seal"):
        by_id = {context.id: context for context in contexts}
        rows = sample(session, place, contexts, samples, policy if method == "seal" else None)
        return [
            (by_id[row.context_id], row.candidate, session.task.parse(row.text)) for row in rows
        ]
    # A fixed method has one self-edit, made of the context alone.
    return [(context, 0, session.task.fixed(method, context)) for context in contexts]


def context_scores(ledger: Ledger, method: str, task: AnyTask | None = None) -> dict[str, float]:
    """Accuracy of every context under a method, from the ledger: the mean over samples, repeats and
    marks.

    Args:
        ledger: the run's.
        method: the method.
        task: says what the answers count for; without it each answer is right or wrong on its own.

    A context none of whose answers has a verdict is left out.
    """
    if task is None:
        return _shares_right(ledger, method)
    marks: dict[str, list[float]] = defaultdict(list)
    for key, counted in marks_of(ledger.each_trial(held_out(method)), task).items():
        marks[key.context_id] += counted
    return {context: sum(values) / len(values) for context, values in marks.items()}


def _shares_right(ledger: Ledger, method: str) -> dict[str, float]:
    right, judged = Counter[str](), Counter[str]()
    for verdicts in ledger.verdicts(held_out(method)):
        right[verdicts.context_id] += verdicts.right
        judged[verdicts.context_id] += verdicts.judged
    # Contexts without any verdict are left out: 0/0 is no accuracy.
    return {context: right[context] / count for context, count in judged.items() if count}


def trials_of(ledger: Ledger, methods: Iterable[str]) -> dict[str, list[Trial]]:
    """Every stored held-out trial of each method."""
    return {method: ledger.trials(held_out(method)) for method in methods}


def undecided(ledger: Ledger, methods: Iterable[str]) -> dict[str, int]:
    """How many answers of each method were graded without a verdict, counted within the ledger;
    methods without any are left out.
    """
    counts = {
        method: sum(verdicts.undecided for verdicts in ledger.verdicts(held_out(method)))
        for method in methods
    }
    return {method: count for method, count in counts.items() if count}
