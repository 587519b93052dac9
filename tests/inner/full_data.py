"""Sequences of random tokens for full finetuning, of many lengths."""

from __future__ import annotations

import torch

from selfedit.inner.job import TrainSequence


def sequences(count: int, seed: int = 0) -> list[TrainSequence]:
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        length = int(torch.randint(5, 30, (1,), generator=generator))
        ids = tuple(torch.randint(3, 300, (length,), generator=generator).tolist())
        made.append(TrainSequence(ids, (False, *[True] * (length - 1))))
    return made
