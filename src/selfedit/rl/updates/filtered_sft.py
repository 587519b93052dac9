"""Filtered supervised finetuning: the policy imitates the self-edits that were kept.

The M-step of ReST-EM (Singh et al. 2023, arXiv 2312.06585), as SEAL uses it (arXiv 2506.10943, eqs.
3 and 4): with K the kept self-edits and T all of their sampled tokens,

    L(θ) = −(1/T) Σ_{a in K} Σ_t log π_θ(a_t | C, a_<t)

a mean over the tokens of each step's batch, at temperature 1. Under a grammar π is the masked
policy: only the tokens that were a choice count, with a softmax over what the grammar allows there.
"""

from __future__ import annotations

from typing import Any

from selfedit.config import Settings
from selfedit.lm.lora import Adapter
from selfedit.rl.policy_tokens import policy_sequence
from selfedit.rl.policy_training import MaskedLikelihood, train_policy
from selfedit.rl.session import Session
from selfedit.rl.updates.base import PlainUpdate, ScoredEdits


class FilteredSFT(PlainUpdate):
    """Next-token loss on every kept self-edit after its prompt, as ``rl.mstep`` says."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def update(self, session: Session[Any], scored: ScoredEdits) -> Adapter | None:
        """See `Update`."""
        sequences = [
            policy_sequence(session, scored.contexts[row.context_id], row) for row in scored.kept
        ]
        if not sequences:
            return None
        masked = any(sequence.allowed for sequence in sequences)
        return train_policy(
            session, scored.number, sequences, MaskedLikelihood() if masked else None
        )


UPDATE = FilteredSFT
