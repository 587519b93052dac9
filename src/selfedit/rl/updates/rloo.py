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

from selfedit.config import Settings
from selfedit.rl.advantages import leave_one_out
from selfedit.rl.policy_gradient import SignedUpdate


class RLOO(SignedUpdate):
    """Every self-edit of a context with different rewards, for or against it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, leave_one_out, mean=False)


UPDATE = RLOO
