"""How one reward's ranking of the self-edits of a context agrees with another's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from selfedit.grading.stats import Estimate, mean_se, paired, spearman

Table = Mapping[str, Sequence[float]]
"""A reward of every self-edit: for each context, by candidate."""


def row(name: str, reward: Table, true: Table, seconds: float) -> dict[str, Any]:
    """One reward against the true one.

    Returns:
        ``accuracy``: the true reward of the self-edit it would choose; ``spearman`` and ``top1``: its rank correlation
        with the true reward within a context, and how often its choice is one of the truly best. Each is a mean over
        contexts with its standard error; ``decided`` counts the contexts where the true reward tells self-edits apart,
        over which the last two are taken. ``seconds``: what it costs a self-edit. ``unreadable``: contexts left out
        because a judge's marks for them could not be read.
    """
    shared = [context for context in true if context in reward]
    readable = [context for context in shared if not any(map(math.isnan, reward[context]))]
    decided = [context for context in readable if len(set(true[context])) > 1]
    chosen = [_chosen(reward[context], true[context]) for context in readable]
    correlations = [spearman(reward[context], true[context]) for context in decided]
    ranks = _mean([0.0 if value is None else value for value in correlations])  # a constant reward ranks nothing
    agreed = _mean([_agrees(reward[context], true[context]) for context in decided])
    earned = _mean(chosen)
    return {
        "method": name,
        "accuracy": earned.mean if earned else None,
        "se": earned.se if earned else None,
        "n": len(readable),
        "spearman": ranks.mean if ranks else None,
        "spearman_se": ranks.se if ranks else None,
        "top1": agreed.mean if agreed else None,
        "top1_se": agreed.se if agreed else None,
        "decided": len(decided),
        "unreadable": len(shared) - len(readable),
        "seconds": seconds,
    }


def compare_choices(rewards: Mapping[str, Table], true: Table) -> list[dict[str, Any]]:
    """For each reward: the true reward of what it chooses less that of a random choice, paired over contexts."""
    found = []
    for name, reward in rewards.items():
        readable = [c for c in true if c in reward and not any(map(math.isnan, reward[c]))]
        if readable:
            chosen = {context: _chosen(reward[context], true[context]) for context in readable}
            at_random = {context: sum(true[context]) / len(true[context]) for context in readable}
            gap = paired(chosen, at_random)
            found.append({"a": name, "b": "random", "difference": gap.difference, "se": gap.se, "n": gap.n})
    return found


def shown(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rows as a table for people."""
    columns = ["reward", "Spearman within context", "top-1 agreement", "n", "seconds a self-edit"]
    cells = [
        [
            str(r["method"]),
            *[_with_error(r[name], r[f"{name}_se"]) for name in ("spearman", "top1")],
            str(r["decided"]),
            f"{r['seconds']:.1f}",
        ]
        for r in rows
    ]
    title = "Against the true reward (n: contexts where it tells self-edits apart)"
    return {"title": title, "columns": columns, "rows": cells}


def _with_error(value: float | None, error: float | None) -> str:
    return "?" if value is None else f"{value:.2f} ± {'?' if error is None else f'{error:.2f}'}"


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


def _mean(values: Sequence[float]) -> Estimate | None:
    return mean_se(values) if values else None
