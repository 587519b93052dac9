"""Which sequences a job trains on at which step.

Jobs that share an *order seed* take their sequences in one random order of length ranks: at a step,
all of them are at their longest sequence, or all at their third longest, and so on. Each job still
sees its sequences in a random order, the same one as alone, but the sequences of a step are of like
length, so that hardly any padding is computed. A job that has fewer sequences than the others sits
out the steps of the ranks it does not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from selfedit.inner.job import AdaptJob


@dataclass(frozen=True, order=True)
class Batch:
    """One optimiser step of a job.

    Attributes:
        when: epoch and position in the epoch's order; jobs of one order seed at the same place have
            the same.
        indices: the job's sequences of this step.
    """

    when: tuple[int, float]
    indices: tuple[int, ...]


def batches(job: AdaptJob, lengths: Sequence[int]) -> Iterator[Batch]:
    """Every optimiser step of a job: each epoch is a new random order of length ranks, cut into
    batches.
    """
    generator = torch.Generator()
    # Longest first; ties by number, so that ranks are the same each time.
    ranked = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    size = job.optim.batch_size
    for epoch in range(job.optim.epochs):
        # Seeded anew each epoch and drawn rank by rank: how many ranks a job has does not change
        # where the first are.
        # A large odd factor keeps neighbouring seeds' epochs apart; the modulus is what torch
        # takes.
        generator.manual_seed((job.ordering * 1_000_003 + epoch) % 2**63)
        # One number a rank, in rank order: a job with fewer ranks draws a beginning of the same
        # numbers.
        places = torch.rand(len(ranked), generator=generator, dtype=torch.float64).tolist()
        order = sorted(range(len(ranked)), key=places.__getitem__)
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            # The first sequence's place stands for the batch.
            yield Batch((epoch, places[chosen[0]]), tuple(ranked[rank] for rank in chosen))
