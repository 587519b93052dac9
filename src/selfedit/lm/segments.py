"""Ragged batches: tokens packed end to end, and the few padded blocks a batched product needs.

A *packed* tensor ``[T, …]`` holds the tokens of many segments (sequences, or all tokens of one adapter) with no
padding. Products with the base weights run on it as it is. What is done segment by segment (attention, an adapter's
two thin products) runs on *buckets*: segments of like length, right-padded to the longest of the bucket, one batched
product each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MAX_PAD_RATIO = 1.25
"""A bucket's longest segment over its shortest. Smaller: less padding, more calls."""


@dataclass(frozen=True)
class Bucket:
    """Segments of like length.

    Attributes:
        segments: ids of the segments in this bucket, ``[n]``.
        run: the same ids as a slice where they are consecutive: what is stacked by segment is then a view, not a copy.
        index: row of the packed tensor for each padded slot, ``[n, L]``; padding points at row 0.
        keep: 1 where a slot holds a token, 0 where it pads, ``[n * L, 1]``; None when nothing pads.
        whole: the bucket is the packed tensor itself, in order and without padding.
    """

    segments: Tensor
    run: slice | None
    index: Tensor
    keep: Tensor | None
    whole: bool

    def pad(self, packed: Tensor) -> Tensor:
        """Packed ``[T, …]`` to padded ``[n, L, …]``; padding slots hold some other row's values."""
        n, length = self.index.shape
        rows = packed if self.whole else packed.index_select(0, self.index.flatten())
        return rows.view(n, length, *packed.shape[1:])

    def pad_zero(self, packed: Tensor) -> Tensor:
        """Packed ``[T, F]`` to padded ``[n, L, F]``; padding slots hold zeros."""
        padded = self.pad(packed)
        if self.keep is not None:
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
            flat.append(torch.zeros_like(flat[0][:1]))
        if len(flat) == 1 and self.buckets[0].whole:
            return flat[0]
        rows = flat[0] if len(flat) == 1 else torch.cat(flat)
        return rows.index_select(0, self.unpad_index)


def make_segments(
    rows: Sequence[Sequence[int]],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    total: int | None = None,
    *,
    together: float = 1.0,
) -> Segments:
    """Divide packed rows into segments.

    Args:
        rows: the packed rows of each segment, in order; a segment may have none.
        device: where the indices go.
        dtype: of the tensors that will be packed.
        total: packed rows in all, if some are in no segment; those read the zero row past the last bucket.
        together: all segments, empty ones too, become one bucket where its slots are at most this many times the rows.
    """
    covered = sum(len(r) for r in rows)
    if covered and len(rows) * max(map(len, rows)) <= together * covered:
        groups = [list(range(len(rows)))]
    else:
        groups = _alike(rows)
    total = covered if total is None else total
    slots = sum(len(group) * max(len(rows[i]) for i in group) for group in groups)
    unpad = [slots] * total
    buckets, start = [], 0
    for group in groups:
        group.sort()
        length = max(len(rows[i]) for i in group)
        for slot, i in enumerate(group):
            base = start + slot * length
            for offset, row in enumerate(rows[i]):
                unpad[row] = base + offset
        start += len(group) * length
        buckets.append(_bucket(rows, group, length, total, device, dtype))
    return Segments(tuple(buckets), torch.tensor(unpad, device=device), covered < total)


def _alike(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Segments that have rows, grouped by like length."""
    groups: list[list[int]] = []
    for i in sorted((i for i in range(len(rows)) if len(rows[i])), key=lambda i: -len(rows[i])):
        if groups and len(rows[groups[-1][0]]) <= MAX_PAD_RATIO * len(rows[i]):
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _bucket(
    rows: Sequence[Sequence[int]], group: list[int], length: int, total: int, device: Any, dtype: torch.dtype
) -> Bucket:
    flat = [row for i in group for row in (*rows[i], *([0] * (length - len(rows[i]))))]
    real = sum(len(rows[i]) for i in group)
    keep = None
    if real < len(flat):
        mask = [float(slot < len(rows[i])) for i in group for slot in range(length)]
        keep = torch.tensor(mask, device=device, dtype=dtype)[:, None]
    return Bucket(
        segments=torch.tensor(group, device=device),
        run=slice(group[0], group[-1] + 1) if group[-1] - group[0] + 1 == len(group) else None,
        index=torch.tensor(flat, device=device).view(len(group), length),
        keep=keep,
        whole=flat == list(range(total)),
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
        return tuple(bucket.pad(packed).clone() if bucket.whole else bucket.pad(packed) for bucket in segments.buckets)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        # Padding slots are read by nothing that is kept, so their gradient is zero and dropping them is exact.
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
