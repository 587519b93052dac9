"""GRPO: group relative policy optimisation (Shao et al. 2024, arXiv 2402.03300).

With M self-edits of a context, rewards r and ρ_jt = π_θ(a_jt | …) / π_old(a_jt | …),

    A_j = (r_j − mean(r)) / std(r)
    J(θ) = 1/M Σ_j 1/|a_j| Σ_t [ min(ρ_jt A_j, clip(ρ_jt, 1 − ε, 1 + ε) A_j) − β k_jt ]

with k the estimate of KL(π_θ‖π_ref) in `ClippedGradient`. π is the policy that samples, at the
sampling's temperature and masked by the grammar; |a_j| counts its choices.
"""

from __future__ import annotations

from typing import Any

from selfedit.config import Settings
from selfedit.lm.lora import Adapter
from selfedit.rl.advantages import signed_advantages, standardised
from selfedit.rl.policy_gradient import ClippedGradient, advantage_sequences, check_sampling
from selfedit.rl.policy_training import train_policy
from selfedit.rl.session import Session
from selfedit.rl.updates.base import PlainUpdate, ScoredEdits


class GRPO(PlainUpdate):
    """Every self-edit of a context with different rewards, by its standardised reward."""

    def __init__(self, settings: Settings) -> None:
        check_sampling(settings, "grpo")
        gradient = settings.rl.gradient
        self.objective = ClippedGradient(
            settings.edit.temperature, gradient.clip, gradient.kl, mean=True
        )

    def update(self, session: Session[Any], scored: ScoredEdits) -> Adapter | None:
        """See `Update`."""
        advantages = signed_advantages(scored.rewards, standardised)
        sequences = advantage_sequences(session, scored, advantages)
        return (
            train_policy(session, scored.number, sequences, self.objective) if sequences else None
        )


UPDATE = GRPO
