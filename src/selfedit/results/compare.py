"""Methods side by side: a row for each, paired differences, several runs as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from selfedit.errors import DataError, UsageError
from selfedit.grading.grader import NO_VERDICT
from selfedit.grading.inference import Test, crossed
from selfedit.grading.stats import clustered, mean_se, paired, share_right
from selfedit.results.results import Difference, Results, Row

Scores = Mapping[str, Mapping[str, float]]
"""For each method, in order, the accuracy of each context in [0, 1]."""


@dataclass(frozen=True)
class Comparison:
    """A row for each method, and what was compared."""

    rows: tuple[Row, ...]
    paired: tuple[Difference, ...]


def compare(scores: Scores, pairs: Sequence[tuple[str, str]] | None = None) -> Comparison:
    """Rows and paired differences; n counts contexts, the standard error is over contexts.

    Args:
        scores: of each method.
        pairs: which methods to compare, the earlier one first; None takes neighbours.

    Raises:
        DataError: a method has no context with a score.
    """
    rows: list[Row] = []
    for method, of_method in scores.items():
        if not of_method:
            fix = (
                "grade its answers again with `selfedit evaluate RUN --grader NAME`; if it cannot,"
                f" {NO_VERDICT}"
            )
            raise DataError(
                "no context has answers with a verdict under every method", where=method, fix=fix
            )
        estimate = clustered({context: [value] for context, value in of_method.items()})
        rows.append(Row(method, estimate.mean, estimate.se, estimate.n))
    chosen = pairwise(scores) if pairs is None else pairs
    return Comparison(
        tuple(rows), tuple(difference(scores, before, after) for before, after in chosen)
    )


def difference(scores: Scores, before: str, after: str) -> Difference:
    """One method less another, paired over contexts."""
    gap = paired(scores[after], scores[before])
    return Difference(after, before, gap.difference, gap.se, gap.n)


def shares_right(verdicts: Mapping[str, Sequence[bool | None]]) -> dict[str, float]:
    """The share of right answers of each context, without those that have no verdict."""
    shares = {context: share_right(values) for context, values in verdicts.items()}
    return {context: share for context, share in shares.items() if share is not None}


def on_shared(scores: Scores) -> dict[str, dict[str, float]]:
    """Each method's scores on the contexts that all methods have a score for, so that differences
    are paired.
    """
    shared = {context for of_method in scores.values() for context in of_method}
    for of_method in scores.values():
        shared &= of_method.keys()
    kept: dict[str, dict[str, float]] = {}
    for method, of_method in scores.items():
        kept[method] = {context: score for context, score in of_method.items() if context in shared}
    return kept


def pool_results(runs: Sequence[tuple[str, Results]]) -> Results:
    """The results of several runs, each with its name, as one: the first's settings and the table
    of all (see `pool`).

    Raises:
        UsageError: a run has no table of methods, or see `pool`.
    """
    for name, results in runs:
        if not results.contexts:
            raise UsageError(
                "this run has no table of methods", where=name, fix="give runs of `selfedit train`"
            )
    every = [results for _, results in runs]
    first = every[0]
    pooled = pool([results.scores for results in every])
    seeds = tuple(results.seed for results in every if results.seed is not None)
    return Results(
        experiment=first.experiment,
        rows=pooled.rows,
        paired=pooled.paired,
        published=first.published,
        model=first.model,
        grader=first.grader,
        settings=first.settings,
        notes=first.notes,
        more=_pooled_more(every),
        runs=len(runs),
        seeds=seeds if len(seeds) == len(runs) else (),
    )


def _pooled_more(every: Sequence[Results]) -> dict[str, Any]:
    """What the second grader and answers' lengths come to over the runs; tricks are the same in all
    of them.
    """
    parts = [results.more for results in every]
    if not all("second" in part for part in parts):
        return {}
    second: dict[str, Any] = parts[0]["second"]
    tables: list[Scores] = [part["second"]["contexts"] for part in parts]
    words: list[Mapping[str, float]] = [part["answer_words"] for part in parts]
    shared = [m for m in tables[0] if all(m in table for table in tables)]
    pooled: dict[str, dict[str, float]] = {}
    for method in shared:
        columns = [table[method] for table in tables]
        known = set(columns[0]).intersection(*columns)
        pooled[method] = {c: _mean_of(columns, c) for c in columns[0] if c in known}
    return {
        "canary": parts[0]["canary"],
        "second": {**second, "contexts": pooled},
        "answer_words": {m: _mean_of(words, m) for m in words[0] if all(m in w for w in words)},
    }


def pool(runs: Sequence[Scores]) -> Comparison:
    """One table of several runs (seeds) on the same contexts, as `compare` gives it.

    A context's score is its mean over the runs, so n counts contexts and the standard error is over
    contexts: answers about one passage are not independent, whichever run they come from. Each
    paired difference also says what every run alone gives, ``by_run``, its mean's standard error
    over runs, ``se_runs``, and the test ``both`` with the error over contexts and runs at once:
    runs are policies, and those at hand are as much a draw as the passages are.

    Args:
        runs: for each run, for each method, the accuracy of each context.

    Raises:
        UsageError: the runs have no method in common, or not the same contexts.
    """
    shared = set(runs[0]).intersection(*runs)
    methods = [method for method in runs[0] if method in shared]  # in the first run's order
    if not methods:
        raise UsageError("the runs have no method in common")
    means: dict[str, dict[str, float]] = {}
    for method in methods:
        if any(run[method].keys() != runs[0][method].keys() for run in runs):
            fix = "pool runs with the same held-out passages"
            raise UsageError("the runs were measured on different passages", where=method, fix=fix)
        columns = [run[method] for run in runs]
        means[method] = {name: _mean_of(columns, name) for name in runs[0][method]}
    pooled = compare(means)
    gaps: list[Difference] = []
    for gap in pooled.paired:
        by_run = tuple(paired(run[gap.a], run[gap.b]).difference for run in runs)
        gaps.append(
            replace(gap, by_run=by_run, se_runs=mean_se(by_run).se, both=_over_both(runs, gap))
        )
    return Comparison(pooled.rows, tuple(gaps))


def _over_both(runs: Sequence[Scores], gap: Difference) -> Test:
    """The test of a difference whose error is over contexts and runs at once."""
    table: dict[int, dict[str, float]] = {}
    for number, run in enumerate(runs):
        table[number] = {name: score - run[gap.b][name] for name, score in run[gap.a].items()}
    return crossed(table).test


def _mean_of(columns: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(column[name] for column in columns) / len(columns)
