"""How one reward's ranking of the self-edits of a context agrees with another's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from selfedit.grading.stats import Estimate, mean, mean_se, spearman
from selfedit.results.compare import difference
from selfedit.results.results import Difference, Row
from selfedit.results.tabular import Cell, Column, Table

Rewards = Mapping[str, Sequence[float]]
"""A reward of every self-edit: for each context, by candidate."""


def row(name: str, reward: Rewards, true: Rewards, seconds: float) -> Row:
    """One reward against the true one.

    Returns:
        ``accuracy``: the true reward of the self-edit it would choose; ``spearman`` and ``top1``:
        its rank correlation with the true reward within a context, and how often its choice is one
        of the truly best. Each is a mean over contexts with its standard error; ``decided`` counts
        the contexts where the true reward tells self-edits apart, over which the last two are
        taken. ``seconds``: what it costs a self-edit. ``unreadable``: contexts left out because a
        judge's marks for them could not be read.
    """
    shared = [context for context in true if context in reward]
    readable = [context for context in shared if not any(map(math.isnan, reward[context]))]
    decided = [context for context in readable if len(set(true[context])) > 1]
    chosen = [_chosen(reward[context], true[context]) for context in readable]
    correlations = [spearman(reward[context], true[context]) for context in decided]
    # A constant reward ranks nothing: its correlation is not known, and counts as none.
    ranks = estimate_of([0.0 if value is None else value for value in correlations])
    agreed = estimate_of([_agrees(reward[context], true[context]) for context in decided])
    earned = estimate_of(chosen)
    return Row(
        name,
        earned.mean if earned else None,
        earned.se if earned else None,
        len(readable),
        more={
            "spearman": ranks.mean if ranks else None,
            "spearman_se": ranks.se if ranks else None,
            "top1": agreed.mean if agreed else None,
            "top1_se": agreed.se if agreed else None,
            "decided": len(decided),
            "unreadable": len(shared) - len(readable),
            "seconds": seconds,
        },
    )


def compare_choices(rewards: Mapping[str, Rewards], true: Rewards) -> list[Difference]:
    """For each reward: the true reward of what it chooses less that of a random choice, paired over
    contexts.
    """
    differences: list[Difference] = []
    for name, reward in rewards.items():
        readable = [c for c in true if c in reward and not any(map(math.isnan, reward[c]))]
        if readable:
            chosen = {context: _chosen(reward[context], true[context]) for context in readable}
            at_random = {context: mean(true[context]) for context in readable}
            differences.append(difference({name: chosen, "random": at_random}, "random", name))
    return differences


def against_true(rows: Sequence[Row]) -> Table:
    """The rows as a table for people."""
    columns = [
        "reward",
        Column("Spearman within context (se)", "number2"),
        Column("top-1 agreement (se)", "number2"),
        "n",
        Column("seconds a self-edit", "number1"),
    ]
    cells: list[list[Cell]] = []
    for one in rows:
        more = one.more
        spearman, top1 = (more["spearman"], more["spearman_se"]), (more["top1"], more["top1_se"])
        cells.append([one.method, spearman, top1, more["decided"], more["seconds"]])
    title = "Against the true reward (n: contexts where it tells self-edits apart)"
    return Table.make(title, columns, cells)


def _leaders(values: Sequence[float]) -> list[int]:
    best = max(values)
    return [at for at, value in enumerate(values) if value == best]


def _chosen(reward: Sequence[float], true: Sequence[float]) -> float:
    """The true reward of the choice; equals share it."""
    leaders = _leaders(reward)
    return sum(true[at] for at in leaders) / len(leaders)


def _agrees(reward: Sequence[float], true: Sequence[float]) -> float:
    """The chance that the choice, drawn among equals, is one of the truly best."""
    leaders = _leaders(reward)
    return len(set(leaders) & set(_leaders(true))) / len(leaders)


def estimate_of(values: Sequence[float]) -> Estimate | None:
    """Their mean with its standard error; None for no values."""
    return mean_se(values) if values else None
