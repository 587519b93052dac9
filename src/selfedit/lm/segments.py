"""Ragged batches: tokens packed end to end, and the few padded blocks a batched product needs.

A *packed* tensor ``[T, …]`` holds the tokens of many segments (sequences, or all tokens of one
adapter) with no padding. Products with the base weights run on it as it is. What is done segment by
segment (attention, an adapter's two thin products) runs on *buckets*: segments of like length,
right-padded to the longest of the bucket, one batched product each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IntArray = NDArray[np.int64]

MAX_PAD_RATIO = 1.25
"""A bucket's longest segment over its shortest. Smaller: less padding, more calls."""


@dataclass(frozen=True)
class Bucket:
    """Segments of like length.

    Attributes:
        segments: ids of the segments in this bucket, ``[n]``.
        run: the same ids as a slice where they are consecutive: what is stacked by segment is then
            a view, not a copy.
        index: row of the packed tensor for each padded slot, ``[n, L]``; padding points at row 0.
        keep: 1 where a slot holds a token, 0 where it pads, ``[n * L, 1]``; None when nothing pads.
        is_packed: the bucket is the packed tensor itself, in order and without padding.
    """

    segments: Tensor
    run: slice | None
    index: Tensor
    keep: Tensor | None
    is_packed: bool

    def pad(self, packed: Tensor) -> Tensor:
        """Packed ``[T, …]`` to padded ``[n, L, …]``; padding slots hold some other row's values."""
        # index_select of the flat index: one gather for any number of trailing dimensions.
        n, length = self.index.shape
        rows = packed if self.is_packed else packed.index_select(0, self.index.flatten())
        return rows.view(n, length, *packed.shape[1:])

    def pad_zero(self, packed: Tensor) -> Tensor:
        """Packed ``[T, F]`` to padded ``[n, L, F]``; padding slots hold zeros."""
        padded = self.pad(packed)
        if self.keep is not None:
            # Multiplied, not masked: padding slots hold other rows' values, which are finite.
            padded.view(-1, packed[0].numel()).mul_(self.keep)
        return padded


@dataclass(frozen=True)
class Segments:
    """How a packed tensor of T tokens divides into segments.

    Attributes:
        buckets: every segment is in exactly one.
        unpad_index: for each packed row, its row in the flattened buckets laid end to end, ``[T]``.
        partial: some packed rows are in no segment; `unpad` gives zeros for them.
    """

    buckets: tuple[Bucket, ...]
    unpad_index: Tensor
    partial: bool = False

    @property
    def padded_tokens(self) -> int:
        """Slots of all buckets, padding included."""
        return sum(bucket.index.numel() for bucket in self.buckets)

    def unpad(self, padded: Sequence[Tensor]) -> Tensor:
        """One ``[n, L, …]`` tensor a bucket back to packed ``[T, …]``."""
        flat = [block.flatten(0, 1) for block in padded]
        if self.partial:
            # One zero row behind all buckets: what is in no segment reads it.
            flat.append(torch.zeros_like(flat[0][:1]))
        if len(flat) == 1 and self.buckets[0].is_packed:
            return flat[0]
        # Buckets end to end, so that one index reaches all of them.
        rows = flat[0] if len(flat) == 1 else torch.cat(flat)
        return rows.index_select(0, self.unpad_index)


def make_segments(
    rows: Sequence[Sequence[int]],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    total: int | None = None,
    *,
    together: float = 1.0,
    most: int | None = None,
) -> Segments:
    """Divide packed rows into segments.

    Args:
        rows: the packed rows of each segment, in order; a segment may have none.
        device: where the indices go.
        dtype: of the tensors that will be packed.
        total: packed rows in all, if some are in no segment; those read the zero row past the last
            bucket.
        together: all segments, empty ones too, become one bucket where its slots are at most this
            many times the rows.
        most: buckets at the most; None for as many as keep padding small.
    """
    lengths = np.fromiter((len(r) for r in rows), dtype=np.int64, count=len(rows))
    flat = np.concatenate([_as_array(r) for r in rows]) if len(rows) else np.empty(0, np.int64)
    return segments_of(flat, lengths, device, dtype, total, together=together, most=most)


def segments_of(
    flat: IntArray,
    lengths: IntArray,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    total: int | None = None,
    *,
    together: float = 1.0,
    most: int | None = None,
) -> Segments:
    """The same from arrays: the packed rows of all segments end to end, and how many each has."""
    covered = int(lengths.sum())
    # Empty segments take slots too, as long as that costs less than splitting.
    if covered and len(lengths) * int(lengths.max()) <= together * covered:
        groups = [np.arange(len(lengths))]
    else:
        groups = _alike(lengths, most)
    total = covered if total is None else total
    begins = np.cumsum(lengths) - lengths
    # Rows in no segment point behind the last bucket, at the zero row.
    unpad = np.full(
        total, sum(len(group) * int(lengths[group].max()) for group in groups), np.int64
    )
    buckets, base = [], 0
    for group in groups:
        length = int(lengths[group].max())
        slot = np.arange(length)
        # Which slots hold tokens: all but the padding on the right.
        real = slot < lengths[group][:, None]  # [n, L]
        # Padding must point at some row that exists; which one does not matter.
        places = np.minimum(begins[group][:, None] + slot, max(0, covered - 1))
        index = np.where(real, flat[places], 0)
        unpad[index[real]] = (base + np.arange(real.size).reshape(real.shape))[real]
        base += real.size
        buckets.append(_bucket(group, index, real, total, device, dtype))
    return Segments(tuple(buckets), torch.from_numpy(unpad).to(device), covered < total)


def _as_array(rows: Sequence[int]) -> IntArray:
    if isinstance(rows, range):
        return np.arange(rows.start, rows.stop, dtype=np.int64)
    return np.asarray(rows, dtype=np.int64)


def _alike(lengths: IntArray, most: int | None) -> list[IntArray]:
    """Segments that have rows, grouped by like length; neighbours are joined, the cheapest first,
    down to ``most``.
    """
    # Descending and stable: equal lengths stay in order, so a run of neighbours stays a run.
    ordered = np.argsort(-lengths, kind="stable")
    groups: list[list[int]] = []
    # Segments without rows are in no bucket.
    for i in ordered[: np.count_nonzero(lengths)].tolist():
        if groups and lengths[groups[-1][0]] <= MAX_PAD_RATIO * lengths[i]:
            groups[-1].append(i)
        else:
            groups.append([i])
    while most is not None and len(groups) > most:
        longest = [int(lengths[group[0]]) for group in groups]
        # Padding that joining would add: every shorter segment grows to the longer bucket's
        # length.
        added = [(longest[n] - longest[n + 1]) * len(groups[n + 1]) for n in range(len(groups) - 1)]
        first = added.index(min(added))
        groups[first : first + 2] = [groups[first] + groups[first + 1]]
    # Sorted again: neighbours by number make a slice, and a slice is a view.
    return [np.sort(np.asarray(group)) for group in groups]


def _bucket(
    group: IntArray,
    index: IntArray,
    real: NDArray[np.bool_],
    total: int,
    device: Any,
    dtype: torch.dtype,
) -> Bucket:
    # Only where something pads: else the mask would be a tensor of ones for nothing.
    keep = None if real.all() else torch.from_numpy(real.reshape(-1, 1)).to(device, dtype)
    first, last = int(group[0]), int(group[-1])
    return Bucket(
        segments=torch.from_numpy(group).to(device),
        run=slice(first, last + 1) if last - first + 1 == len(group) else None,
        index=torch.from_numpy(index).to(device),
        keep=keep,
        # The packed tensor as it lies: `pad` then needs no gather at all. Not where a slot pads: it
        # may point at the very row of its place, a row that is in no segment.
        is_packed=keep is None
        and index.size == total
        and bool((index.reshape(-1) == np.arange(total)).all()),
    )


def consecutive(lengths: Sequence[int]) -> list[range]:
    """Rows of segments laid end to end: lengths 2, 3 give 0–1 and 2–4."""
    spans, start = [], 0
    for length in lengths:
        spans.append(range(start, start + length))
        start += length
    return spans


class Pad(torch.autograd.Function):
    """``bucket.pad`` whose gradient is a gather too (index_add, torch's own, adds row by row)."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, segments: Segments) -> tuple[Tensor, ...]:  # noqa: D102
        ctx.segments = segments
        # Where nothing pads, `pad` gives a view of the input, which a Function may not return as
        # it is.
        return tuple(
            bucket.pad(packed).clone() if bucket.is_packed else bucket.pad(packed)
            for bucket in segments.buckets
        )

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        # Padding slots are read by nothing that is kept, so their gradient is zero and dropping
        # them is exact.
        return ctx.segments.unpad([grad.contiguous() for grad in grads]), None


class Unpad(torch.autograd.Function):
    """``segments.unpad`` whose gradient is a gather with zeros in the padding."""

    @staticmethod
    def forward(ctx: Any, segments: Segments, *padded: Tensor) -> Tensor:  # noqa: D102
        ctx.segments = segments
        return segments.unpad(padded)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        flat = grads[0].contiguous().flatten(1)
        shape = grads[0].shape[1:]
        return None, *(b.pad_zero(flat).unflatten(-1, shape) for b in ctx.segments.buckets)
