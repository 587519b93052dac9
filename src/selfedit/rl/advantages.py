"""What a self-edit is worth beside its context's others: signed advantages from rewards."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from selfedit.run.records import RewardRow

EQUAL = 1e-9
"""Rewards that differ by no more are the same: means of shares differ in their last bits."""

Advantages = Callable[[Sequence[float]], list[float]]
"""From the rewards of one context's self-edits, two or more, to the advantage of each."""


def leave_one_out(rewards: Sequence[float]) -> list[float]:
    """Each reward less the mean of the others (RLOO: Kool et al. 2019; Ahmadian et al. 2024, arXiv
    2402.14740).

    The baseline of a self-edit does not depend on it, so the gradient's mean is that of the reward
    itself, with less variance.
    """
    total, others = sum(rewards), len(rewards) - 1
    # Its own reward is in the total: it is taken out before the mean of the others.
    return [reward - (total - reward) / others for reward in rewards]


def standardised(rewards: Sequence[float]) -> list[float]:
    """Each reward less the mean of all, over their standard deviation (GRPO: Shao et al. 2024,
    arXiv 2402.03300).
    """
    mean = sum(rewards) / len(rewards)
    # Over n, not n − 1: GRPO's formula standardises the group itself.
    spread = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / len(rewards))
    return [(reward - mean) / spread for reward in rewards]


def known_rewards(rows: Sequence[RewardRow]) -> dict[str, dict[int, float]]:
    """The rewards of each context's candidates, without those that earned none: not measured, or
    cut off and dropped.
    """
    earned: dict[str, dict[int, float]] = {}
    for row in rows:
        of_context = earned.setdefault(row.context_id, {})
        # An accuracy is NaN without a verdict; a reward alone may be NaN where the text was cut
        # off.
        if math.isfinite(row.reward) and not math.isnan(row.accuracy):
            of_context[row.candidate] = row.reward
    return earned


def differ(rewards: Sequence[float]) -> bool:
    """Whether some self-edit of a context earned more than another."""
    return len(rewards) > 1 and max(rewards) - min(rewards) > EQUAL


def signed_advantages(
    rows: Sequence[RewardRow], kind: Advantages
) -> Mapping[tuple[str, int], float]:
    """The advantage of every self-edit of the contexts in which rewards differ."""
    earned: dict[tuple[str, int], float] = {}
    for context, rewards in known_rewards(rows).items():
        # Equal rewards say nothing of which self-edit to prefer, and their deviation of 0 divides
        # nothing.
        if differ(list(rewards.values())):
            values = kind(list(rewards.values()))
            earned |= {(context, n): value for n, value in zip(rewards, values, strict=True)}
    return earned
