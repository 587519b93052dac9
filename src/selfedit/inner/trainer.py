"""What the steps of a group share, and what runs them: padded blocks anywhere, static shapes on a
GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from selfedit.inner.job import AdaptJob
from selfedit.inner.lower import Lower
from selfedit.inner.optimiser import BankAdamW
from selfedit.inner.plan import Material, Step
from selfedit.lm.bank import AdapterBank
from selfedit.lm.load import LanguageModel


@dataclass(frozen=True)
class Training:
    """A group in training.

    Attributes:
        lm: the model.
        bank: its adapters.
        optimiser: the bank's.
        jobs: all of the group.
        data: every job's sequences.
        lower: outputs of the layers below the lowest adapter, if there are such layers.
        head: the rows of the output matrix that are computed, ``[V or A, D]``.
        steps: the plan.
    """

    lm: LanguageModel
    bank: AdapterBank
    optimiser: BankAdamW
    jobs: Sequence[AdaptJob]
    data: Sequence[Sequence[Material]]
    lower: Lower | None
    head: Tensor
    steps: Sequence[Step]


class StepRunner(Protocol):
    """Runs the steps of a plan in order."""

    every: int
    """Steps between two looks at progress."""

    def run(self, number: int) -> None:
        """One forward and backward pass, and one AdamW step each."""
        ...

    def wait(self) -> None:
        """Come back once the device has done all but the last few steps."""
        ...

    def losses(self) -> list[list[float]]:
        """The mean loss of every turn of every step, in nats a token."""
        ...
