"""The plan of a group: which job trains on which of its sequences at which step, and the arrays of
every step.

A bank has fewer rows than a group may have jobs. A job takes a free row, trains until it has
finished, and leaves the row to the next that waits, so that every step has as many adapters as the
bank has rows while there is work. When it may sit a step out is the only thing that company
decides: its own batches and their order are its seed's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfedit.inner.job import AdaptJob, TrainSequence
from selfedit.inner.order import Batch, batches
from selfedit.lm.segments import IntArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Turn:
    """A job's part in a step: its optimiser step ``number`` (from 0), on these of its sequences."""

    slot: int
    job: int
    number: int
    sequences: tuple[int, ...]


@dataclass
class Step:
    """One forward and backward pass.

    Attributes:
        turns: in the order of the bank's rows.
        started: (row, job) of the jobs that take a row before it.
        finished: (row, job) of the jobs that leave their row after it.
    """

    turns: list[Turn] = field(default_factory=list)
    started: list[tuple[int, int]] = field(default_factory=list)
    finished: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class _Running:
    job: int
    began: int
    order: Iterator[Batch]
    coming: Batch | None
    number: int = 0


def schedule(
    jobs: Sequence[AdaptJob], lengths: Sequence[Sequence[int]], rows: int, *, aligned: bool
) -> Iterator[Step]:
    """Every step of a group.

    Args:
        jobs: all of the group.
        lengths: tokens of each job's sequences.
        rows: adapters in training at once, at the most.
        aligned: jobs of one data order that began together stay at the same length rank, and one
            without a sequence of that rank sits the step out. It saves padding, where padded blocks
            are computed; else nobody waits.
    """
    # The longest first: those that still train stand side by side in the bank, and the end has few
    # short ones.
    # Reversed for pop(): the last is taken first.
    waiting = sorted(
        range(len(jobs)), key=lambda k: (-jobs[k].optim.epochs, -len(lengths[k]), k), reverse=True
    )
    running: dict[int, _Running] = {}
    step_number = 0
    while waiting or running:
        step = Step()
        # A row that became free takes the next job before the step, not after it.
        for slot in range(min(rows, len(jobs))):
            if slot not in running and waiting:
                job = waiting.pop()
                order = batches(jobs[job], lengths[job])
                running[slot] = _Running(job, step_number, order, next(order, None))
                step.started.append((slot, job))
        for slot in _taking_part(jobs, running, aligned):
            current = running[slot]
            # A running job always has a batch coming: it leaves when there is none.
            assert current.coming is not None
            step.turns.append(Turn(slot, current.job, current.number, current.coming.indices))
            current.number += 1
            current.coming = next(current.order, None)
            # Known as soon as the last batch is handed out: the row is free for the next step.
            if current.coming is None:
                step.finished.append((slot, current.job))
                del running[slot]
        step_number += 1
        yield step


def _taking_part(
    jobs: Sequence[AdaptJob], running: dict[int, _Running], aligned: bool
) -> list[int]:
    """The rows whose jobs take part in the next step: of those that go along, the ones at the
    earliest place.
    """
    if not aligned:
        return sorted(running)
    earliest: dict[tuple[int, int], tuple[int, float]] = {}
    # Jobs that began together and share an order wait for each other; others do not.
    for current in running.values():
        assert current.coming is not None
        key = (jobs[current.job].ordering, current.began)
        earliest[key] = min(earliest.get(key, current.coming.when), current.coming.when)
    return [
        slot
        for slot, current in sorted(running.items())
        if current.coming is not None
        and current.coming.when == earliest[jobs[current.job].ordering, current.began]
    ]


@dataclass(frozen=True)
class Material:
    """A training sequence as arrays.

    Attributes:
        ids: its tokens, ``[n]``.
        before: the places whose next token carries loss, ``[m]``.
        targets: what is to be predicted there, ``[m]``; rows of the output matrix in use.
        weight: of the next-token loss.
        sequence: what it was made of.
        first_row: where its tokens' kept lower outputs begin (`selfedit.inner.lower`).
    """

    ids: IntArray
    before: IntArray
    targets: IntArray
    weight: float
    sequence: TrainSequence
    first_row: int = 0


@dataclass(frozen=True)
class StepArrays:
    """A step's tokens, all sequences end to end in the order of the bank's rows.

    Attributes:
        ids: ``[T]``.
        positions: of each token in its sequence, ``[T]``.
        lengths: tokens of each sequence, ``[S]``.
        owned: tokens of each turn.
        rows: the tokens whose successor carries loss, ``[N]``.
        targets: what is to be predicted there, ``[N]``.
        weights: a job's loss is the mean over its own, ``[N]``.
        counts: how many of them each turn has.
        lower: rows of the kept lower outputs, ``[T]``.
    """

    ids: IntArray
    positions: IntArray
    lengths: IntArray
    owned: IntArray
    rows: IntArray
    targets: IntArray
    weights: FloatArray
    counts: IntArray
    lower: IntArray


def materials(sequences: Sequence[TrainSequence], places: IntArray | None) -> list[Material]:
    """A job's sequences as arrays.

    Args:
        sequences: of the job.
        places: for every token its row of the output matrix in use; None for its own id.
    """
    arrays = []
    for sequence in sequences:
        ids = np.asarray(sequence.ids, dtype=np.int64)
        before = np.flatnonzero(np.asarray(sequence.loss[1:], dtype=np.bool_))
        # Token t is predicted at t − 1.
        targets = ids[before + 1]
        arrays.append(
            Material(
                ids,
                before,
                targets if places is None else places[targets],
                sequence.weight,
                sequence,
            )
        )
    return arrays


def step_arrays(step: Step, data: Sequence[Sequence[Material]], padding: float) -> StepArrays:
    """The arrays of a step.

    Args:
        step: which sequences.
        data: every job's sequences.
        padding: padding tokens per token up to which all sequences are padded to one length; 0 pads
            none.
    """
    chosen = [[data[turn.job][index] for index in turn.sequences] for turn in step.turns]
    flat = [material for turn in chosen for material in turn]
    # Real tokens of each sequence, before padding to a common length.
    real = np.array([len(material.ids) for material in flat])
    lengths = _common_length(real, [len(turn) for turn in chosen], padding)
    # Where each sequence begins among the packed tokens.
    begins = np.cumsum(lengths) - lengths
    within = np.arange(int(lengths.sum())) - np.repeat(begins, lengths)
    # Within its sequence: padding may not read a neighbour's token.
    source = np.minimum(within, np.repeat(real - 1, lengths))  # padding repeats the last token
    ids = np.concatenate([material.ids for material in flat])
    per_turn = np.array([len(turn) for turn in chosen])
    predicted = np.array([len(material.before) for material in flat])
    first = np.cumsum(per_turn) - per_turn
    # Tokens with loss of each turn: sums over its sequences.
    counts = np.add.reduceat(predicted, first)
    # 1 / count for each sequence's tokens: a job's loss is the mean over all its tokens of the
    # step.
    shares = np.array([material.weight for material in flat]) / np.repeat(counts, per_turn)
    return StepArrays(
        ids=ids[np.repeat(np.cumsum(real) - real, lengths) + source],
        positions=within,
        lengths=lengths,
        owned=np.add.reduceat(lengths, first),
        # From places within a sequence to rows of the packed batch.
        rows=np.concatenate([material.before for material in flat]) + np.repeat(begins, predicted),
        targets=np.concatenate([material.targets for material in flat]),
        weights=np.repeat(shares, predicted),
        counts=counts,
        lower=np.repeat(np.array([material.first_row for material in flat]), lengths) + source,
    )


def _common_length(real: IntArray, per_turn: Sequence[int], padding: float) -> IntArray:
    """The lengths to pad the step's sequences to: one for all, where each turn has as many and it
    costs little.

    Sequences of one length need no gathering of tokens for attention and adapters. That is worth a
    little padding: no token before it can see it, and it carries no loss.
    """
    even, longest = len(set(per_turn)) == 1, int(real.max())
    if padding and even and longest * len(real) <= (1 + padding) * int(real.sum()):
        return np.full(len(real), longest)
    return real


def as_tensor(
    array: NDArray[np.generic], device: torch.device, dtype: torch.dtype | None = None
) -> Tensor:
    """An array on a device; on the CPU it is the array's own memory."""
    # The array's own memory: no copy, so the array must not be written to afterwards.
    return torch.from_numpy(array).to(device, dtype)
