"""Runs side by side: one method of each on the passages that all have, as differences from the
first; runs that differ only in their seed count as policies of one row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from selfedit.errors import UsageError
from selfedit.grading.inference import Test, crossed, holm
from selfedit.results.curves import interval, paired_gaps
from selfedit.results.tabular import Cell, Column, Table


@dataclass(frozen=True)
class Compared:
    """A row: runs of one kind beside the first ones.

    Attributes:
        run: the first of them, by its name.
        accuracy, se, n: of the method, over the shared passages; the error is over policies too
            where there are several.
        test: the paired difference from the first row; None for the first.
        p_holm: its p value among all comparisons (Holm 1979).
        seconds: that an inner loop took to train; None where none did.
        policies: how many runs.
    """

    run: str
    accuracy: float
    se: float | None
    n: int
    test: Test | None
    p_holm: float | None
    seconds: float | None
    policies: int = 1

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)


Policies = Mapping[int, Mapping[str, float]]
"""For each policy (its seed), the accuracy of each passage."""


def side_by_side(
    scores: Mapping[str, Policies], seconds: Mapping[str, float | None]
) -> list[Compared]:
    """Every row's accuracy, and its difference from the first, paired over passages and, where
    there are several, over the policies of equal seeds.

    Args:
        scores: for each row, in order, each policy's accuracies.
        seconds: of an inner loop of each.

    Raises:
        UsageError: the runs share no passage, or rows of several policies no seed.
    """
    names = list(scores)
    every: list[Mapping[str, float]] = []
    for policies in scores.values():
        every += policies.values()
    shared = sorted(set(every[0]).intersection(*every))
    if not shared:
        raise UsageError(
            "the runs have no passage in common",
            where=", ".join(names),
            fix="give runs on the same held-out passages",
        )
    kept = {run: _on_passages(policies, shared) for run, policies in scores.items()}
    tests: dict[str, Test] = {}
    for run in names[1:]:
        tests[run] = _against(kept[run], kept[names[0]], f"{names[0]}, {run}")
    adjusted = holm({run: test.p for run, test in tests.items() if test.p is not None})
    compared: list[Compared] = []
    for run in names:
        both = crossed(kept[run])
        compared.append(
            Compared(
                run,
                both.test.difference,
                both.test.se,
                both.passages,
                tests.get(run),
                adjusted.get(run),
                seconds.get(run),
                both.policies,
            )
        )
    return compared


def _against(one: Policies, other: Policies, where: str) -> Test:
    if len(one) == len(other) == 1:  # one policy of each: paired whatever their seeds
        one, other = dict(enumerate(one.values())), dict(enumerate(other.values()))
    gaps = paired_gaps(one, other)
    if not gaps:
        fix = "give runs of the same seeds: policies are compared seed by seed"
        raise UsageError("the rows have no seed in common", where=where, fix=fix)
    return crossed(gaps).test


def _on_passages(policies: Policies, names: Sequence[str]) -> Policies:
    return {seed: {name: scores[name] for name in names} for seed, scores in policies.items()}


def as_table(compared: Sequence[Compared], method: str) -> Table:
    """The table of a comparison."""
    rows: list[list[Cell]] = []
    for one in compared:
        gap: Cell = "" if one.test is None else (one.test.difference, one.test.se)
        p_value: Cell = "" if one.test is None else one.p_holm
        counts: list[Cell] = [one.n, one.policies]
        rows.append(
            [
                one.run,
                (one.accuracy, one.se),
                *counts,
                gap,
                interval(one.test),
                p_value,
                one.seconds,
            ]
        )
    columns = [
        Column("run"),
        Column(f"{method} %", "percent"),
        "n",
        "policies",
        Column("− first", "points"),
        "95 % interval",
        Column(f"p (Holm, {len(compared) - 1})", "number3"),
        Column("s/inner loop", "number1"),
    ]
    return Table.make("", columns, rows)
