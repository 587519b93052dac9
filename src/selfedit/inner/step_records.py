"""Steps of static shapes as rows of 32-bit numbers: the shapes they are padded to, and the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from selfedit.inner.optimiser import Hyper, hyper_table
from selfedit.inner.plan import Step, StepArrays
from selfedit.inner.trainer import TrainingGroup

SMALLEST = 64
"""Tokens by which shapes differ at the least."""


@dataclass(frozen=True)
class StaticShape:
    """The sizes that a step's arrays are padded to.

    Attributes:
        tokens: T.
        sequences: S, those of padding included.
        predicted: N, tokens that carry loss.
        rows: K of the bank.
    """

    tokens: int
    sequences: int
    predicted: int
    rows: int

    @property
    def fields(self) -> dict[str, int]:
        """The parts of a record and their lengths, in order."""
        return {
            "ids": self.tokens,
            "positions": self.tokens,
            "lower": self.tokens,
            "slot": self.tokens,
            "sequence_ends": self.sequences + 1,
            "slot_ends": self.rows,
            "rows": self.predicted,
            "targets": self.predicted,
            "weights": self.predicted,
            "counts": self.rows,
            "hyper": self.rows * len(Hyper._fields),
        }

    @property
    def size(self) -> int:
        """Numbers of a record."""
        return sum(self.fields.values())

    def parts(self, record: Tensor) -> dict[str, Tensor]:
        """The parts of a record as views."""
        return dict(zip(self.fields, record.split(list(self.fields.values())), strict=True))


def static_shapes(
    arrays: Sequence[StepArrays], longest: int, rows: int, count: int
) -> list[StaticShape]:
    """Each step's shape, of ``count`` at the most: its tokens rounded up, and room for what steps
    of that size have.
    """
    most = max(len(step.ids) for step in arrays)
    # Rounded up to whole steps of SMALLEST.
    grid = max(SMALLEST, -(-most // (max(1, count) * SMALLEST)) * SMALLEST)
    tokens = [-(-len(step.ids) // grid) * grid for step in arrays]
    sequences: dict[int, int] = {}
    predicted: dict[int, int] = {}
    for size, step in zip(tokens, arrays, strict=True):
        # Padding is cut into sequences too: none may be longer than the longest real one.
        padding = -(-(size - len(step.ids)) // longest)
        sequences[size] = max(sequences.get(size, 0), len(step.lengths) + padding)
        # By eights: a few shapes more or less in the loss are not worth a graph each.
        predicted[size] = max(predicted.get(size, 0), -(-len(step.rows) // 8) * 8)
    return [StaticShape(size, sequences[size], predicted[size], rows) for size in tokens]


def record(
    step: Step, arrays: StepArrays, shape: StaticShape, training: TrainingGroup, longest: int
) -> NDArray[np.int32]:
    """A step as one row of 32-bit numbers (`StaticShape.fields`), ``[size]``."""
    used, slots = len(arrays.ids), [turn.slot for turn in step.turns]
    owned, counts = np.zeros(shape.rows, np.int64), np.zeros(shape.rows, np.int64)
    owned[slots], counts[slots] = arrays.owned, arrays.counts
    # Padding counts to the last row; its weights are zero.
    counts[-1] += shape.predicted - len(arrays.rows)
    slot_ends = np.cumsum(owned)
    # And so do the padding tokens.
    slot_ends[-1] = shape.tokens
    slot = np.full(shape.tokens, shape.rows - 1)
    slot[:used] = np.repeat(np.arange(shape.rows), owned)
    # Unused sequences are empty: they begin and end at the end.
    ends = np.full(shape.sequences + 1, shape.tokens)
    ends[0] = 0
    ends[1 : len(arrays.lengths) + 1] = np.cumsum(arrays.lengths)
    # Padding tokens as sequences of at most `longest`.
    begins_of_padding = np.arange(used + longest, shape.tokens, longest)
    first = len(arrays.lengths) + 1
    ends[first : first + len(begins_of_padding)] = begins_of_padding
    positions = np.zeros(shape.tokens, np.int64)
    positions[:used] = arrays.positions
    fields: dict[str, NDArray[np.generic]] = {
        "ids": _padded(arrays.ids, shape.tokens),
        "positions": positions,
        "lower": _padded(arrays.lower, shape.tokens),
        "slot": slot,
        "sequence_ends": ends,
        "slot_ends": slot_ends,
        "rows": _padded(arrays.rows, shape.predicted),
        "targets": _padded(arrays.targets, shape.predicted),
        # The bits of the float, not its value: a record is of whole numbers.
        "weights": _padded(arrays.weights, shape.predicted).astype(np.float32).view(np.int32),
        "counts": counts,
        "hyper": hyper_table(training.jobs, step.turns, shape.rows).reshape(-1).view(np.int32),
    }
    return np.concatenate([fields[name].astype(np.int32) for name in shape.fields])


def _padded(array: NDArray[np.generic], length: int) -> NDArray[np.generic]:
    """With zeros up to a length."""
    return np.concatenate([array, np.zeros(length - len(array), array.dtype)])
