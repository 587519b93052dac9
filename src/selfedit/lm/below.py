"""Adapters that train on top of frozen ones: what a model has merged already, each adapter of a
bank its own.

A second bank holds the frozen adapters. Its update is added to every linear module's output, and
gradients pass through it to what lies below; it has none of its own. Where all stand on one and the
same adapter, a policy's say, it is kept once and is one product for all tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfedit.lm.bank import AdapterBank
from selfedit.lm.bank_product import BankSlot, Route
from selfedit.lm.grouped import FrozenGrouped, Offsets
from selfedit.lm.lora import Adapter
from selfedit.lm.segments import Segments


class Below:
    """One module's frozen adapters, added to its output."""

    def __init__(self, slot: BankSlot) -> None:
        self.slot = slot

    def __call__(self, packed: Tensor, route: Route) -> Tensor:
        """Packed inputs ``[T, in]`` to the frozen updates ``[T, out]``."""
        if isinstance(route, Offsets):
            scale = self.slot.scale.flatten().to(packed.dtype)
            # Tokens of each adapter from where they end; on the device, so that nothing waits.
            spans = route.ends.diff(prepend=route.ends.new_zeros(1)).long()
            per_token = scale.repeat_interleave(spans, output_size=len(packed))[:, None]
            update = FrozenGrouped.apply(packed, self.slot, route.ends, per_token)
            return cast("Tensor", update)
        return _FrozenProduct.apply(packed, self.slot, route)


class _FrozenProduct(torch.autograd.Function):
    """scale · (x Aᵀ) Bᵀ for every segment with its own A and B; only x gets a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slot: BankSlot, segments: Segments) -> Tensor:
        ctx.slot, ctx.segments, ctx.dtype = slot, segments, x.dtype
        updates = []
        for bucket in segments.buckets:
            a, b, scale = slot.pick(bucket, x.dtype)
            h = torch.bmm(bucket.pad(x), a.mT).mul_(scale)  # [n, L, r]
            updates.append(torch.bmm(h, b.mT))  # [n, L, out]
        return segments.unpad(updates)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        dy = grads[0].contiguous()
        parts = []
        for bucket in ctx.segments.buckets:
            a, b, scale = ctx.slot.pick(bucket, ctx.dtype)
            # The Bs first: backwards through (x Aᵀ) Bᵀ is (dy B) A.
            dh = torch.bmm(bucket.pad(dy), b).mul_(scale)  # padding slots are dropped by unpad
            parts.append(torch.bmm(dh, a))
        return ctx.segments.unpad(parts), None, None


class Common:
    """One module's frozen adapter that every row stands on, added to its output."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        self.a, self.b = a, b  # [r, in], [out, r] with the scale in it

    def __call__(self, packed: Tensor, route: Route) -> Tensor:
        """Packed inputs ``[T, in]`` to the frozen update ``[T, out]``, whatever the route."""
        return F.linear(F.linear(packed, self.a), self.b)


class FrozenBank:
    """The frozen adapters under a bank's rows."""

    def __init__(self, bank: AdapterBank) -> None:
        self._bank = bank

    def put_or_clear(self, k: int, start: Adapter | None) -> None:
        """Let row k train on top of an adapter, or of the base alone."""
        if start is None:
            self._bank.clear(k)
        else:
            self._bank.put(k, start)


def frozen_bank(
    model: nn.Module, bank: AdapterBank, starts: Sequence[Adapter | None]
) -> FrozenBank | None:
    """Put frozen adapters under a bank's rows; None where no row has one of its own.

    Args:
        model: the bank's.
        bank: the adapters in training, with a slot for every module that a start adapts.
        starts: of every job that will have a row.
    """
    specs = [start.spec for start in starts if start is not None]
    if not specs:
        return None
    first, rows = starts[0], len(bank.specs)
    # The same object, not an equal one: adapters of one policy are passed along, not copied.
    common = first is not None and all(start is first for start in starts)
    frozen = AdapterBank(model, specs * rows, rows=1 if common else rows)
    if common and first is not None:
        frozen.put(0, first)
        for name, slot in frozen.slots.items():
            # The scale into B once, instead of a product for every step.
            bank.slots[name].below = Common(slot.a[0], first.spec.scale * slot.b[0])
        # Nothing to put into rows later: `FrozenBank` is only for adapters that differ.
        return None
    for name, slot in frozen.slots.items():
        bank.slots[name].below = Below(slot)
    return FrozenBank(frozen)
