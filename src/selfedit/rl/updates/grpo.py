"""GRPO: group relative policy optimisation (Shao et al. 2024, arXiv 2402.03300).

With M self-edits of a context, rewards r and ρ_jt = π_θ(a_jt | …) / π_old(a_jt | …),

    A_j = (r_j − mean(r)) / std(r)
    J(θ) = 1/M Σ_j 1/|a_j| Σ_t [ min(ρ_jt A_j, clip(ρ_jt, 1 − ε, 1 + ε) A_j) − β k_jt ]

with k the estimate of KL(π_θ‖π_ref) in `ClippedGradient`. π is the policy that samples, at the
sampling's temperature and masked by the grammar; |a_j| counts its choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import pstdev

from selfedit.config import Settings
from selfedit.rl.advantages import standardised
from selfedit.rl.policy_gradient import SignedUpdate


class GRPO(SignedUpdate):
    """Every self-edit of a context with different rewards, by its standardised reward."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, standardised, mean=True)

    def unit(self, rewards: Sequence[float]) -> float:
        """See `SignedUpdate`; the standard deviation of the context's rewards."""
        # As `standardised` divides: the population's deviation.
        return pstdev(rewards)


UPDATE = GRPO
