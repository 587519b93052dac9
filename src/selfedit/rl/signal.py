"""Whether the reward has signal: does the best self-edit of a context win again with other inner
seeds?

Needs two or more repeats of each candidate (``rl.repeats``): one chooses, the others check.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from selfedit.grading.stats import mean_se
from selfedit.rl.trial import marks_of
from selfedit.run.records import Trial
from selfedit.tasks.task import AnyTask

Table = Sequence[Sequence[float]]
"""The marks of a context's self-edits, ``[candidates][repeats]``."""


def reward_signal(
    trials: Iterable[Trial], task: AnyTask | None = None, *, graded: bool = True
) -> dict[str, Any]:
    """What repeats say about each other, over the self-edits of one round.

    Returns:
        ``gain``: on the repeats that did not choose it, the chosen self-edit's mark less the mean
        of the context's others, averaged over which repeat chooses (ties share), mean and standard
        error over contexts; ``n`` of them, of which ``undecided`` had equal marks throughout.
        ``reliability``: the share of one repeat's variance within contexts that is between
        self-edits (the intraclass correlation of a one-way analysis of variance); None where
        nothing varies.
    """
    tables = repeat_tables(trials, task, graded=graded)
    gains = [_gain(table) for table in tables.values()]
    # One mark throughout: no repeat could have chosen anything.
    flat = [len({mark for marks in table for mark in marks}) == 1 for table in tables.values()]
    return {
        "gain": mean_se(gains).as_dict() if gains else None,
        "n": len(gains),
        "undecided": sum(flat),
        "reliability": _reliability(list(tables.values())),
    }


def repeat_tables(
    trials: Iterable[Trial], task: AnyTask | None, *, graded: bool
) -> dict[str, Table]:
    """For each context with two or more self-edits, all tried equally often and more than once,
    their marks ``[candidates][repeats]``.
    """
    by_context: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    edited = [trial for trial in trials if trial.candidate is not None]
    for (context, candidate, _), marks in sorted(marks_of(edited, task, graded=graded).items()):
        if candidate is not None:
            by_context[context][candidate].append(sum(marks) / len(marks))
    return {
        name: list(marks.values()) for name, marks in by_context.items() if _repeats_compare(marks)
    }


@dataclass(frozen=True)
class LoopSignal:
    """How much of a round's reward is signal, and what that cost.

    Attributes:
        contexts: with two or more self-edits, each tried equally often and more than once.
        flat: those of them whose self-edits all earned the same in every repeat.
        loops: inner loops a self-edit.
        one: reliability of one inner loop's reward: the share of its variance within contexts that
            is between self-edits; None where nothing varies.
        mean: of the mean of all repeats, which is what a round learns from.
        se: standard error of `per_loop`, a jackknife over contexts; None for one context.
    """

    contexts: int
    flat: int
    loops: int
    one: float | None
    mean: float | None
    se: float | None = None

    @property
    def per_loop(self) -> float | None:
        """What each inner loop bought: the mean's reliability over the loops of a self-edit."""
        return None if self.mean is None else self.mean / self.loops


def loop_signal(trials: Sequence[Trial], task: AnyTask | None = None) -> LoopSignal:
    """The reliability of a round's reward per inner loop spent (see `reward_signal`)."""
    signal = reward_signal(trials, task)
    repeats = {trial.repeat for trial in trials if trial.candidate is not None}
    one, loops = signal["reliability"], len(repeats)
    mean = None if one is None else of_repeats(one, loops)
    se = jackknife(per_loop_without_each(repeat_tables(trials, task, graded=True)))
    return LoopSignal(signal["n"], signal["undecided"], loops, one, mean, se)


def reliability_per_loop(tables: Mapping[str, Table]) -> float | None:
    """Reliability of the mean of all repeats over the inner loops of a self-edit."""
    one = _reliability(list(tables.values()))
    if one is None:
        return None
    loops = len(next(iter(tables.values()))[0])
    return of_repeats(one, loops) / loops


def per_loop_without_each(tables: Mapping[str, Table]) -> list[float | None]:
    """`reliability_per_loop` of all contexts but one, for each."""
    left_out: list[float | None] = []
    for name in tables:
        rest = {other: table for other, table in tables.items() if other != name}
        left_out.append(reliability_per_loop(rest))
    return left_out


def jackknife(left_out: Sequence[float | None]) -> float | None:
    """The standard error from the statistic without each unit (Efron and Tibshirani 1993, 11.5)."""
    values = [value for value in left_out if value is not None]
    count = len(values)
    if count < 2 or count < len(left_out):
        return None
    middle = _mean(values)
    return sqrt((count - 1) / count * sum((value - middle) ** 2 for value in values))


def of_repeats(reliability: float, repeats: int) -> float:
    """The reliability of the mean of several repeats from that of one: k ρ / (1 + (k − 1) ρ)
    (Spearman 1910, Brown 1910); one that is measured below 0 stays as it is.
    """
    if reliability <= 0:
        return reliability
    return repeats * reliability / (1 + (repeats - 1) * reliability)


def _repeats_compare(candidates: Mapping[int, Sequence[float]]) -> bool:
    counts = {len(marks) for marks in candidates.values()}
    return len(candidates) > 1 and len(counts) == 1 and min(counts) > 1


def _gain(table: Table) -> float:
    """Over every choosing repeat: the leaders' mean mark elsewhere less that of the rest (0 where
    all lead).
    """
    repeats, gains = range(len(table[0])), []
    # Every repeat chooses once, the others check: the mean does not depend on which is which.
    for chooser in repeats:
        best = max(marks[chooser] for marks in table)
        elsewhere = [_mean([marks[r] for r in repeats if r != chooser]) for marks in table]
        leaders = [
            # Ties share: all that lead are chosen, and their mean counts.
            value
            for value, marks in zip(elsewhere, table, strict=True)
            if marks[chooser] == best
        ]
        rest = [
            value for value, marks in zip(elsewhere, table, strict=True) if marks[chooser] != best
        ]
        gains.append(_mean(leaders) - _mean(rest) if rest else 0.0)
    return _mean(gains)


def _reliability(tables: Sequence[Table]) -> float | None:
    between, within, free_between, free_within, size = 0.0, 0.0, 0, 0, 0
    for table in tables:
        size = len(table[0])
        middle = _mean([_mean(marks) for marks in table])
        between += size * sum((_mean(marks) - middle) ** 2 for marks in table)
        within += sum((mark - _mean(marks)) ** 2 for marks in table for mark in marks)
        free_between += len(table) - 1
        free_within += len(table) * (size - 1)
    # One self-edit a context, or one mark everywhere: there is no variance to divide.
    if not free_between or between + within == 0:
        return None
    one, other = between / free_between, within / free_within
    # ICC(1) = (MSB − MSW) / (MSB + (k − 1) MSW), Shrout and Fleiss 1979.
    return (one - other) / (one + (size - 1) * other)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
