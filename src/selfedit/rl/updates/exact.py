"""The exact policy gradient, for self-edits that can be listed.

Where a context has finitely many self-edits a (few-shot ARC with ``arc.listed``), the expected
reward is a sum and so is its gradient (Sutton et al. 2000, the policy gradient theorem for one
step; "all-action" or expected policy gradients, Ciosek and Whiteson 2018, arXiv 1706.05374):

    J(θ) = Σ_a π_θ(a) r̂(a),    ∇J(θ) = Σ_a π_θ(a) (r̂(a) − b) ∇ log π_θ(a)

with π_θ(a) the product over the self-edit's choices, r̂(a) its measured reward (the mean where it
was tried more than once) and b = Σ_a π_old(a) r̂(a) / Σ_a π_old(a). The sums are over what was
tried: with ``rl.draw = "every"`` that is all of them, and no noise is left but the rewards' own;
else a self-edit that was not tried counts as worth b, and no importance weight is needed, whatever
it was drawn by. A brake β KL(π_θ‖π_ref) is summed over the same self-edits.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from selfedit.config import Settings
from selfedit.errors import UsageError
from selfedit.lm.lora import Adapter
from selfedit.lm.rules import OneOf
from selfedit.rl.advantages import differ, known_rewards
from selfedit.rl.policy_gradient import check_sampling, with_logs
from selfedit.rl.policy_tokens import PolicySequence, policy_sequence, without_logs
from selfedit.rl.policy_training import StepTokens, TokenObjective, train_policy
from selfedit.rl.session import AnySession
from selfedit.rl.updates.base import PlainUpdate, ScoredEdits


class ExpectedReward(TokenObjective):
    """Minus the expected advantage over a step's self-edits, and the brake: each self-edit's part
    is spread over its choices.
    """

    def __init__(self, temperature: float, kl: float) -> None:
        super().__init__(temperature)
        self.kl = kl

    def parts(self, logs: Tensor, tokens: StepTokens) -> Tensor:
        """See `TokenObjective`."""
        count = len(tokens.lengths)
        # Which self-edit each token belongs to, [N].
        owner = torch.arange(count, device=logs.device).repeat_interleave(tokens.lengths)

        def summed(values: Tensor) -> Tensor:
            return values.new_zeros(count).index_add(0, owner, values)  # [S]

        # log π of a whole self-edit is the sum over its choices.
        log_pi = summed(logs)  # [S]
        first = tokens.lengths.cumsum(0) - tokens.lengths  # each self-edit's first choice
        worth = self.kl * (log_pi - summed(tokens.reference)) - tokens.advantages[first]
        # Spread over its tokens, since an objective's loss is a sum over tokens; d/dθ of π is π ·
        # ∇ log π.
        return (log_pi.exp() * worth / tokens.lengths)[owner]


class Exact(PlainUpdate):
    """Every different self-edit of a context, by how likely it is and how much better than b."""

    def __init__(self, settings: Settings) -> None:
        check_sampling(settings, "exact")
        self.objective = ExpectedReward(settings.edit.temperature, settings.rl.gradient.kl)

    def check(self, session: AnySession) -> None:
        """See `Update`; self-edits have to be a finite list."""
        if not isinstance(session.task.rule(), OneOf):
            what = "the exact gradient needs self-edits that can be listed"
            fix = "set arc.listed = true in few-shot ARC; else rl.update = rloo"
            raise UsageError(what, where="rl.update", fix=fix)

    def update(self, session: AnySession, scored: ScoredEdits) -> Adapter | None:
        """See `Update`."""
        sequences: list[PolicySequence] = []
        for context, rewards in known_rewards(scored.rewards).items():
            # Equal rewards have advantage 0 throughout.
            if differ(list(rewards.values())):
                sequences += self._of_context(session, scored, context, rewards)
        return (
            train_policy(session, scored.number, sequences, self.objective) if sequences else None
        )

    def _of_context(
        self, session: AnySession, scored: ScoredEdits, context: str, rewards: dict[int, float]
    ) -> list[PolicySequence]:
        """Its different self-edits, each with r̂ − b as the advantage of its tokens."""
        different: dict[PolicySequence, PolicySequence] = {}
        earned: dict[PolicySequence, list[float]] = {}
        for row in scored.edits:
            if row.context_id == context and row.candidate in rewards:
                sequence = policy_sequence(session, scored.contexts[context], row)
                # The same text twice is one action: its rewards are averaged.
                same = without_logs(sequence)
                different.setdefault(same, sequence)
                earned.setdefault(same, []).append(rewards[row.candidate])
        sequences = with_logs(session, list(different.values()))
        means = [sum(values) / len(values) for values in earned.values()]
        # Under the policy that sampled: b is held fixed while θ moves.
        likely = [math.exp(sum(sequence.old)) for sequence in sequences]
        base = sum(p * r for p, r in zip(likely, means, strict=True)) / sum(likely)
        return [
            replace(sequence, advantages=(mean - base,) * len(sequence.places))
            for sequence, mean in zip(sequences, means, strict=True)
        ]


UPDATE = Exact
