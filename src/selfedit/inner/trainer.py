"""What the steps of a group share, and what runs them: padded blocks anywhere, static shapes on a
GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from selfedit.inner.job import AdaptJob, TrainSequence
from selfedit.inner.lower import Lower
from selfedit.inner.optimiser import BankAdamW
from selfedit.inner.plan import Material, Step
from selfedit.lm.bank import AdapterBank
from selfedit.lm.load import LanguageModel


class Objective(Protocol):
    """Another loss than that of the next token."""

    def __call__(
        self,
        hidden: Tensor,
        head: Tensor,
        targets: Tensor,
        weights: Tensor,
        sequences: Sequence[TrainSequence],
    ) -> tuple[Tensor, Tensor]:
        """The loss of a step, with gradient, and each predicted token's part of it, ``[N]``.

        Args:
            hidden: last hidden states before the predicted tokens, ``[N, D]``.
            head: the output matrix, ``[V, D]``; what comes out of it is capped where ``lm.cap`` is
                not None.
            targets: the predicted tokens, ``[N]``, sequence after sequence.
            weights: that make the next-token loss a mean over each job's tokens, ``[N]``.
            sequences: the step's, in order.
        """
        ...


@dataclass(frozen=True)
class TrainingGroup:
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
        objective: what is minimised; None is the next-token loss.
    """

    lm: LanguageModel
    bank: AdapterBank
    optimiser: BankAdamW
    jobs: Sequence[AdaptJob]
    data: Sequence[Sequence[Material]]
    lower: Lower | None
    head: Tensor
    steps: Sequence[Step]
    objective: Objective | None = None


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

    def state(self) -> dict[str, Tensor]:
        """What it keeps between two steps: losses so far, where its random numbers are."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state`, before the first step."""
        ...

    def losses(self) -> list[list[float]]:
        """The mean loss of every turn of every step, in nats a token."""
        ...
