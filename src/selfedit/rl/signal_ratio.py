"""How much more of the reward is signal, per inner loop spent, in one run than in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot

from selfedit.rl.signal import (
    Table,
    jackknife,
    per_loop_without_each,
    reliability_per_loop,
    repeat_tables,
)
from selfedit.run.records import Trial
from selfedit.tasks.task import AnyTask

Rounds = Mapping[int, Sequence[Trial]]
"""The trials of each round of a run."""


@dataclass(frozen=True)
class SignalRatio:
    """How much more of the reward is signal, per inner loop, in one run than in another.

    Attributes:
        ratio: of the two `LoopSignal.per_loop` over all rounds; None where either is not above 0.
        se: its standard error: a jackknife that leaves the same context out of both runs where they
            tried the same, else from each run's own.
        paired: whether they did.
    """

    ratio: float | None
    se: float | None
    paired: bool


def signal_ratio(run: Rounds, other: Rounds, task: AnyTask | None = None) -> SignalRatio:
    """The reliability of the reward per inner loop in one run over that in another.

    Args:
        run, other: trials of each round of either.
        task: says what answers count for.
    """
    tables, others = _all_rounds(run, task), _all_rounds(other, task)
    paired = tables.keys() == others.keys()
    above, below = reliability_per_loop(tables), reliability_per_loop(others)
    if above is None or below is None or min(above, below) <= 0:
        return SignalRatio(None, None, paired)
    ratio = above / below
    if paired:
        left = zip(per_loop_without_each(tables), per_loop_without_each(others), strict=True)
        return SignalRatio(ratio, jackknife([_over(*each) for each in left]), paired)
    # Two independent samples: relative errors add up as squares (the delta method).
    error, other_error = (jackknife(per_loop_without_each(part)) for part in (tables, others))
    if error is None or other_error is None:
        return SignalRatio(ratio, None, paired)
    return SignalRatio(ratio, ratio * hypot(error / above, other_error / below), paired)


def _over(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _all_rounds(run: Rounds, task: AnyTask | None) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for number, trials in run.items():
        of_round = repeat_tables(trials, task, graded=True)
        tables |= {f"{number} {name}": table for name, table in of_round.items()}
    return tables
