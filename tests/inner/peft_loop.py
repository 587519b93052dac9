"""The plain way to train one adapter, to compare ours with: the benchmark's careful loop."""

from __future__ import annotations

from torch import Tensor

from benchmarks.careful import train_with_peft
from selfedit.inner.job import AdaptJob
from selfedit.lm.bank import AdapterBank
from selfedit.lm.load import LanguageModel

__all__ = ["difference", "initial_values", "train_with_peft"]


def initial_values(lm: LanguageModel, job: AdaptJob) -> dict[str, tuple[Tensor, Tensor]]:
    """The matrices our bank starts this job from."""
    bank = AdapterBank(lm.model, [job.lora], train=True)
    bank.initialise(0, job.seed)
    return bank.take(0)


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Relative difference of two weight updates, in the Frobenius norm."""
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm().clamp(min=1e-30))
