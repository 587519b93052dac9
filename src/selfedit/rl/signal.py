"""Whether the reward has signal: does the best self-edit of a context win again with other inner
seeds?

Needs two or more repeats of each candidate (``rl.repeats``): one chooses, the others check.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfedit.grading.stats import mean_se
from selfedit.rl.trial import marks_of
from selfedit.run.records import Trial
from selfedit.tasks.task import AnyTask


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
    by_context: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    edited = [trial for trial in trials if trial.candidate is not None]
    for (context, candidate, _), marks in sorted(marks_of(edited, task, graded=graded).items()):
        if candidate is not None:
            by_context[context][candidate].append(sum(marks) / len(marks))
    # Tried once, or not all as often: repeats cannot check each other. [candidates][repeats]
    tables = {
        name: list(candidates.values())
        for name, candidates in by_context.items()
        if _repeats_compare(candidates)
    }
    gains = [_gain(table) for table in tables.values()]
    # One mark throughout: no repeat could have chosen anything.
    flat = [len({mark for marks in table for mark in marks}) == 1 for table in tables.values()]
    return {
        "gain": mean_se(gains).as_dict() if gains else None,
        "n": len(gains),
        "undecided": sum(flat),
        "reliability": _reliability(list(tables.values())),
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
    """

    contexts: int
    flat: int
    loops: int
    one: float | None
    mean: float | None

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
    return LoopSignal(signal["n"], signal["undecided"], loops, one, mean)


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


def _gain(table: Sequence[Sequence[float]]) -> float:
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


def _reliability(tables: Sequence[Sequence[Sequence[float]]]) -> float | None:
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
