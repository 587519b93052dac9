"""Filtered supervised finetuning: the policy imitates the self-edits that were kept.

The M-step of ReST-EM (Singh et al. 2023, arXiv 2312.06585), as SEAL uses it (arXiv 2506.10943, eqs.
3 and 4): with K the kept self-edits and T all of their sampled tokens,

    L(θ) = −(1/T) Σ_{a in K} Σ_t log π_θ(a_t | C, a_<t)

a mean over the tokens of each step's batch, at temperature 1. Under a grammar π is the masked
policy: only the tokens that were a choice count, with a softmax over what the grammar allows there.
"""

from __future__ import annotations

from dataclasses import replace

from selfedit.config import Settings
from selfedit.lm.lora import Adapter
from selfedit.rl.credit import line_weights
from selfedit.rl.policy_tokens import PolicySequence, policy_sequence
from selfedit.rl.policy_training import MaskedLikelihood, train_policy
from selfedit.rl.session import AnySession
from selfedit.rl.updates.base import PlainUpdate, ScoredEdits
from selfedit.run.records import SelfEditRow


class FilteredSFT(PlainUpdate):
    """Next-token loss on every kept self-edit after its prompt, as ``rl.mstep`` says."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def update(self, session: AnySession, scored: ScoredEdits) -> Adapter | None:
        """See `Update`."""
        sequences = [_example(session, scored, row) for row in scored.kept]
        if not sequences:
            return None
        # Free text without weights is plain next-token loss, which the inner loop has a faster way
        # for.
        plain = not any(sequence.allowed or sequence.advantages for sequence in sequences)
        objective = None if plain else MaskedLikelihood()
        return train_policy(session, scored.number, sequences, objective)


def _example(session: AnySession, scored: ScoredEdits, row: SelfEditRow) -> PolicySequence:
    """A kept self-edit; with credit by line its tokens weigh what their lines are worth."""
    sequence = policy_sequence(session, scored.contexts[row.context_id], row)
    if not scored.worths:
        return sequence
    # A self-edit of one line has no worths: all its tokens count alike.
    worths = scored.worths.get((row.context_id, row.candidate), [1.0] * len(sequence.places))
    return replace(sequence, advantages=tuple(line_weights(worths)))


UPDATE = FilteredSFT
