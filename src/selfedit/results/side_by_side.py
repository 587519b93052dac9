"""Runs side by side: one method of each on the passages that all have, as differences from
the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from selfedit.errors import UsageError
from selfedit.grading.inference import Test, holm, t_test
from selfedit.grading.stats import clustered, paired
from selfedit.results.tabular import Cell, Column, Table


@dataclass(frozen=True)
class Compared:
    """A run beside the first one.

    Attributes:
        run: its name.
        accuracy, se, n: of the method, over the shared passages.
        test: the paired difference from the first run, and its t test; None for the first.
        p_holm: its p value among all comparisons (Holm 1979).
        seconds: that an inner loop took to train; None where none did.
    """

    run: str
    accuracy: float
    se: float | None
    n: int
    test: Test | None
    p_holm: float | None
    seconds: float | None

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)


def side_by_side(
    scores: Mapping[str, Mapping[str, float]], seconds: Mapping[str, float | None]
) -> list[Compared]:
    """Every run's accuracy, and its difference from the first, paired over passages.

    Args:
        scores: for each run, in order, the accuracy of each passage.
        seconds: of an inner loop of each.

    Raises:
        UsageError: the runs share no passage.
    """
    names = list(scores)
    shared = set(scores[names[0]]).intersection(*scores.values())
    if not shared:
        raise UsageError(
            "the runs have no passage in common",
            where=", ".join(names),
            fix="give runs on the same held-out passages",
        )
    kept = {run: {c: of_run[c] for c in sorted(shared)} for run, of_run in scores.items()}
    tests = {run: t_test(paired(kept[run], kept[names[0]])) for run in names[1:]}
    adjusted = holm({run: test.p for run, test in tests.items() if test.p is not None})
    compared: list[Compared] = []
    for run in names:
        mean = clustered({context: [score] for context, score in kept[run].items()})
        compared.append(
            Compared(
                run, mean.mean, mean.se, mean.n, tests.get(run), adjusted.get(run), seconds.get(run)
            )
        )
    return compared


def as_table(compared: Sequence[Compared], method: str) -> Table:
    """The table of a comparison."""
    rows: list[list[Cell]] = []
    for one in compared:
        gap: Cell = "" if one.test is None else (one.test.difference, one.test.se)
        p_value: Cell = "" if one.test is None else one.p_holm
        rows.append([one.run, (one.accuracy, one.se), one.n, gap, p_value, one.seconds])
    columns = [
        Column("run"),
        Column(f"{method} %", "percent"),
        "n",
        Column("− first", "points"),
        Column("p (Holm)", "number3"),
        Column("s/inner loop", "number1"),
    ]
    return Table.make("", columns, rows)
