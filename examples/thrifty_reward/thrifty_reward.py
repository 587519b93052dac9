"""A reward of one's own: right answers, less what the training cost.

PYTHONPATH=examples/thrifty_reward selfedit train --rl.reward.signal thrifty_reward:Thrifty
"""

from __future__ import annotations

import math

import selfedit as se

PRICE = 1e-4
"""Accuracy that one training token has to bring in."""


class Thrifty(se.TrialReward):
    """The share of right answers less `PRICE` for every token trained on; the unadapted model
    trains on none.
    """

    needs = ("answers",)

    def value_of(self, context: se.Context, trial: se.Trial) -> float:
        """What one trial is worth; NaN where no answer has a verdict."""
        verdicts = [answer.correct for answer in trial.answers if answer.correct is not None]
        if not verdicts:
            return math.nan
        tokens = 0 if trial.training is None else trial.training.tokens
        return sum(verdicts) / len(verdicts) - PRICE * tokens
