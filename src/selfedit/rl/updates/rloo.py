"""RLOO: REINFORCE with a leave-one-out baseline (Kool et al. 2019, "Buy 4 REINFORCE samples, get a
baseline for free!"; Ahmadian et al. 2024, arXiv 2402.14740).

With N contexts, M self-edits each, rewards r and T the sampling's temperature,

    A_ij = r_ij − 1/(M − 1) Σ_{k≠j} r_ik
    ∇J(θ) = 1/(NM) Σ_i Σ_j A_ij Σ_t ∇ log π_θ(a_ijt | C_i, a_ij<t)

where π_θ is the policy that samples: logits over T, a softmax over what the grammar allows. The
first step's gradient is exactly that; further steps on the same self-edits weight each token by its
clipped ratio to the policy that sampled (`ClippedGradient`), and a brake holds the policy to
``rl.gradient.reference``.
"""

from __future__ import annotations

from typing import Any

from selfedit.config import Settings
from selfedit.lm.lora import Adapter
from selfedit.rl.advantages import leave_one_out, signed_advantages
from selfedit.rl.policy_gradient import ClippedGradient, advantage_sequences, check_sampling
from selfedit.rl.policy_training import train_policy
from selfedit.rl.session import Session
from selfedit.rl.updates.base import PlainUpdate, ScoredEdits


class RLOO(PlainUpdate):
    """Every self-edit of a context with different rewards, for or against it."""

    def __init__(self, settings: Settings) -> None:
        check_sampling(settings, "rloo")
        gradient = settings.rl.gradient
        self.objective = ClippedGradient(
            settings.edit.temperature, gradient.clip, gradient.kl, mean=False
        )

    def update(self, session: Session[Any], scored: ScoredEdits) -> Adapter | None:
        """See `Update`."""
        advantages = signed_advantages(scored.rewards, leave_one_out)
        sequences = advantage_sequences(session, scored, advantages)
        return (
            train_policy(session, scored.number, sequences, self.objective) if sequences else None
        )


UPDATE = RLOO
