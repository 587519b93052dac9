"""Filtered supervised finetuning: the policy imitates the self-edits that were kept.

The M-step of ReST-EM (Singh et al. 2023, arXiv 2312.06585), as SEAL uses it (arXiv 2506.10943).
"""

from __future__ import annotations

from typing import Any

from selfedit.config import Settings
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.rl.session import Session
from selfedit.rl.updates.base import ScoredEdits
from selfedit.run.progress import count_up
from selfedit.run.seeds import derive


class FilteredSFT:
    """Next-token loss on every kept self-edit after its prompt, as ``rl.mstep`` says."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def update(self, session: Session[Any], scored: ScoredEdits) -> Adapter | None:
        """See `Update`."""
        kept = scored.kept
        if not kept:
            return None
        mstep = self.settings.rl.mstep
        sequences = [
            session.task.completion(scored.contexts[row.context_id], row.text) for row in kept
        ]
        lora, optim = LoraSpec(**mstep.lora.model_dump()), OptimSpec(**mstep.optim.model_dump())
        job = AdaptJob(sequences, lora, optim, derive(self.settings.seed, "mstep", scored.number))
        total = optim.epochs * sum(len(s.ids) for s in sequences)
        name = f"finetuning the policy (round {scored.number})"
        with session.progress.task(name, total=total, unit="tokens") as task:
            return adapt(session.lm, [job], count_up(task))[0]


UPDATE = FilteredSFT
