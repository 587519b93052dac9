"""What the teachers of a step's sequences ask: which of its predicted tokens, like what,
how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from selfedit.inner.job import TrainSequence


@dataclass(frozen=True)
class Lessons:
    """The taught tokens of a step.

    Attributes:
        places: their places among all tokens of the step that carry loss, ``[N]``.
        hidden: their teachers' last hidden states, ``[N, D]``.
        weights: of each divergence, ``[N]``.
    """

    places: Tensor
    hidden: Tensor
    weights: Tensor


def lessons(
    active: Sequence[Sequence[TrainSequence]], device: torch.device, dtype: torch.dtype
) -> Lessons | None:
    """What the teachers of each job's sequences ask; None where there is no teacher.

    A job's loss is the mean over all its tokens that carry loss, as for the next-token loss.
    """
    places: list[int] = []
    weights: list[float] = []
    hidden: list[Tensor] = []
    start = 0
    for sequences in active:
        # Of the whole job's step: each sequence's weight is a share of that mean.
        marked = sum(sum(s.loss[1:]) for s in sequences)
        for s in sequences:
            count = sum(s.loss[1:])
            if s.teacher is not None and s.teacher.weight:
                places.extend(range(start, start + count))
                weights.extend([s.teacher.weight / marked] * count)
                hidden.append(s.teacher.hidden)
            # Counted on for sequences without a teacher too: places are among all predicted
            # tokens.
            start += count
    if not hidden:
        return None
    return Lessons(
        torch.tensor(places, device=device),
        torch.cat(hidden).to(device),
        torch.tensor(weights, device=device, dtype=dtype),
    )
