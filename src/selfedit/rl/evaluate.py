"""What a run has taught: the held-out passages under each method, and the table of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from selfedit.errors import DataError, UsageError
from selfedit.grading.grader import NO_VERDICT
from selfedit.grading.stats import clustered, mean_se, paired, share_right
from selfedit.lm.lora import Adapter
from selfedit.rl.base_answers import measure_base
from selfedit.rl.sample import sample
from selfedit.rl.scoring import run_trials
from selfedit.rl.session import Session
from selfedit.rl.trial import PlannedTrial, marks_of
from selfedit.run.ledger import Ledger
from selfedit.run.records import Phase, Place, Trial
from selfedit.run.seeds import derive
from selfedit.tasks.task import Context, Task

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
        raise UsageError(f"unknown method {unknown[0]!r}", where="eval.methods", fix=f"choose among {', '.join(known)}")


def evaluate(session: Session, method: str, contexts: Sequence[Context], policy: Adapter | None = None) -> None:
    """Answer the contexts' questions by one method; what the ledger has is not done again."""
    place = held_out(method)
    if method == "base":
        return measure_base(session, place, contexts)
    return run_edits(session, place, _edits(session, method, place, contexts, policy))


def run_edits(session: Session, place: Place, edits: Sequence[tuple[Context, int, Any]]) -> None:
    """Train on each self-edit (of a context, under a candidate number) as often as ``eval.repeats`` says, and answer.

    The inner seed of a context, sample and repeat is the same for every method, so that differences are paired.
    """
    settings, planned = session.settings, []
    for context, candidate, edit in edits:
        for repeat in range(settings.eval.repeats):
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
        return [(by_id[row.context_id], row.candidate, session.task.parse(row.text)) for row in rows]
    return [(context, 0, session.task.fixed(method, context)) for context in contexts]


def context_scores(ledger: Ledger, method: str, task: Task[Any, Any] | None = None) -> dict[str, float]:
    """Accuracy of every context under a method, from the ledger: the mean over samples, repeats and marks.

    Args:
        ledger: the run's.
        method: the method.
        task: says what the answers count for; without it each answer is right or wrong on its own.

    A context none of whose answers has a verdict is left out.
    """
    marks: dict[str, list[float]] = defaultdict(list)
    for key, counted in marks_of(ledger.trials(held_out(method)), task).items():
        marks[key.context_id] += counted
    return {context: sum(values) / len(values) for context, values in marks.items()}


def shares_right(verdicts: Mapping[str, Sequence[bool | None]]) -> dict[str, float]:
    """The share of right answers of each context, without those that have no verdict."""
    shares = {context: share_right(values) for context, values in verdicts.items()}
    return {context: share for context, share in shares.items() if share is not None}


def trials_of(ledger: Ledger, methods: Iterable[str]) -> dict[str, list[Trial]]:
    """Every stored held-out trial of each method."""
    return {method: ledger.trials(held_out(method)) for method in methods}


def no_verdicts(trials: Mapping[str, Sequence[Trial]]) -> dict[str, int]:
    """How many answers of each method were graded without a verdict; methods without any are left out."""
    counts = {method: sum(_without_verdict(trial) for trial in of_method) for method, of_method in trials.items()}
    return {method: count for method, count in counts.items() if count}


def _without_verdict(trial: Trial) -> int:
    return sum(answer.correct is None and answer.grader is not None for answer in trial.answers)


def on_shared(scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Each method's scores on the contexts that all methods have a score for, so that differences are paired."""
    shared = set.intersection(*(set(of_method) for of_method in scores.values())) if scores else set()
    return {m: {context: of[context] for context in of if context in shared} for m, of in scores.items()}


def table(scores: Mapping[str, Mapping[str, float]], pairs: Sequence[tuple[str, str]] | None = None) -> dict[str, Any]:
    """Rows and paired differences; n counts contexts, the standard error is over contexts.

    Args:
        scores: for each method, in order, the accuracy of each context in [0, 1].
        pairs: which methods to compare, the earlier one first; None takes neighbours.

    Raises:
        DataError: a method has no context with a score.
    """
    rows = []
    for method, of_method in scores.items():
        if not of_method:
            fix = f"grade its answers again with `selfedit evaluate RUN --grader NAME`; if it cannot, {NO_VERDICT}"
            raise DataError("no context has answers with a verdict under every method", where=method, fix=fix)
        estimate = clustered({context: [value] for context, value in of_method.items()})
        rows.append({"method": method, "accuracy": estimate.mean, "se": estimate.se, "n": estimate.n})
    differences = []
    for before, after in pairwise(scores) if pairs is None else pairs:
        gap = paired(scores[after], scores[before])
        differences.append({"a": after, "b": before, "difference": gap.difference, "se": gap.se, "n": gap.n})
    return {"rows": rows, "paired": differences}


def pool_results(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The results of several runs, each with its name, as one: the first's settings and the table of all (see `pool`).

    Raises:
        UsageError: a run has no table of methods, or see `pool`.
    """
    for name, results in runs:
        if "contexts" not in results:
            raise UsageError("this run has no table of methods", where=name, fix="give runs of `selfedit train`")
    every = [results for _, results in runs]
    shared = ("experiment", "model", "grader", "published", "settings")
    # A results.json has its keys sorted; the methods' order is that of its rows.
    tables = [{row["method"]: of["contexts"][row["method"]] for row in of["rows"]} for of in every]
    found = {key: every[0][key] for key in shared if key in every[0]}
    if all("settings" in of for of in every):
        found["seeds"] = [of["settings"]["seed"] for of in every]
    return found | pool(tables)


def pool(runs: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """One table of several runs (seeds) on the same contexts, as `table` gives it.

    A context's score is its mean over the runs, so n counts contexts and the standard error is over contexts: answers
    about one passage are not independent, whichever run they come from. Each paired difference also says what every run
    alone gives, ``by_run``, and its mean's standard error over runs, ``se_runs``.

    Args:
        runs: for each run, for each method, the accuracy of each context.

    Raises:
        UsageError: the runs have no method in common, or not the same contexts.
    """
    methods = [method for method in runs[0] if all(method in run for run in runs)]
    if not methods:
        raise UsageError("the runs have no method in common")
    for method in methods:
        if any(run[method].keys() != runs[0][method].keys() for run in runs):
            fix = "pool runs with the same held-out passages"
            raise UsageError("the runs were measured on different passages", where=method, fix=fix)
    means = {
        method: {context: sum(run[method][context] for run in runs) / len(runs) for context in runs[0][method]}
        for method in methods
    }
    pooled = table(means)
    for gap in pooled["paired"]:
        by_run = [paired(run[gap["a"]], run[gap["b"]]).difference for run in runs]
        gap["by_run"] = by_run
        gap["se_runs"] = mean_se(by_run).se
    return {"runs": len(runs), **pooled}
