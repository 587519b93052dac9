"""Why a round left the policy where it was: the likeliest reason, and what to change."""

from __future__ import annotations

from selfedit.config import Settings
from selfedit.rl.advantages import differ, known_rewards
from selfedit.rl.updates.base import ScoredEdits


def why_nothing(scored: ScoredEdits) -> str:
    """Why an update had nothing to learn from."""
    rewards = known_rewards(scored.rewards)
    if not any(rewards.values()):
        return "no reward could be measured (NaN for every self-edit): look at the grader's answers"
    if not any(differ(list(values.values())) for values in rewards.values()):
        return (
            "no context has self-edits with different rewards: more repeats or questions, a graded"
            " reward, or rl.refill"
        )
    return "nothing was kept: no self-edit beat what rl.reward.rule asks; lower rl.reward.threshold"


def why_not_moved(settings: Settings, kl: float, steps: int) -> str | None:
    """The likeliest reason of a divergence below the stated one; None where it is not below."""
    movement = settings.rl.movement
    if kl >= movement.kl:
        return None
    below = f"KL {kl:.2g} is below {movement.kl:g} nats a self-edit"
    if steps < movement.steps:
        return f"{below}; {steps} optimiser steps are few: raise rl.mstep.optim.epochs"
    rate = settings.rl.mstep.optim.lr
    return f"{below}; the rate {rate:g} is low for {steps} steps: raise rl.mstep.optim.lr"
