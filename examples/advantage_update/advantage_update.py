"""An update of one's own: every self-edit that was better than its rivals, weighted by how much.

PYTHONPATH=examples/advantage_update selfedit train --rl.update advantage_update:AdvantageWeighted
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import selfedit as se


class AdvantageWeighted(se.PlainUpdate):
    """Supervised finetuning on each self-edit above the mean of its context's others, with that
    advantage as weight.

    The advantage is leave-one-out, as in RLOO (Ahmadian et al. 2024, arXiv 2402.14740); those below
    are left out.
    """

    def __init__(self, settings: se.Settings) -> None:
        self.settings = settings

    def update(self, session: se.Session[Any], scored: se.ScoredEdits) -> se.Adapter | None:
        """An adapter on the policy; None where no self-edit stood out."""
        sequences = []
        for edit, advantage in zip(scored.edits, advantages(scored), strict=True):
            if advantage > 0:
                example = se.policy_sequence(session, scored.contexts[edit.context_id], edit)
                sequences.append(replace(example, weight=advantage))
        return se.train_policy(session, scored.number, sequences) if sequences else None


def advantages(scored: se.ScoredEdits) -> list[float]:
    """Of each self-edit: its reward less the mean of its context's others; 0 where it is alone."""
    found = []
    for row in scored.rewards:
        others = [
            r.reward
            for r in scored.rewards
            if r.context_id == row.context_id and r.candidate != row.candidate
        ]
        found.append(row.reward - sum(others) / len(others) if others else 0.0)
    return found
