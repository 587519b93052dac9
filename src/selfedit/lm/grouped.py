"""Adapters' products by offsets: packed tokens in the adapters' order, one grouped product for all,
nothing padded.

For a GPU. ``F.grouped_mm`` reads on the device where each adapter's tokens end, so the host need
not know it and the
same launches serve every step: what a CUDA graph asks for. On a CPU padded buckets
(`selfedit.lm.bank`) are faster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from selfedit.lm.bank_product import BankLinear, BankSlot


@dataclass(frozen=True)
class Offsets:
    """Packed tokens sorted by adapter.

    Attributes:
        ends: for each adapter the packed row after its last, ``[K]`` int32; the last is the number
            of rows.
        scale: alpha / rank of each token's adapter, ``[T, 1]`` in the dtype of the activations.
    """

    ends: Tensor
    scale: Tensor


def grouped_product(
    x: Tensor, anchor: Tensor | None, route: Offsets, modules: tuple[BankLinear, ...]
) -> tuple[Tensor, ...]:
    """`selfedit.lm.bank.shared_product` with the adapters' products by offsets."""
    return _GroupedProduct.apply(x, anchor, route, modules)  # pyright: ignore[reportReturnType]


class _GroupedProduct(torch.autograd.Function):
    """x Wᵀ + scale · (x Aᵀ) Bᵀ, each token with its own adapter's A and B; gradients go into the
    bank's buffer.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, anchor: Tensor | None, route: Offsets, modules: tuple[BankLinear, ...]
    ) -> tuple[Tensor, ...]:
        outs, inner = [], []
        for module in modules:
            y = F.linear(x, module.weight, module.bias)  # [T, out]
            if (slot := module.slot) is not None:
                inputs = x if slot.dropout is None else x * slot.dropout
                # One launch for all adapters; where they end is read on the device.
                h = F.grouped_mm(inputs, slot.a.mT, offs=route.ends).mul_(route.scale)  # [T, r]
                y.add_(F.grouped_mm(h, slot.b.mT, offs=route.ends))
                inner.append(h)
            outs.append(y)
        ctx.slots = [module.slot for module in modules]
        ctx.weights = [module.weight for module in modules]
        ctx.masks = [None if slot is None else slot.dropout for slot in ctx.slots]
        ctx.route = route
        # x and the thin products; masked inputs are formed again in the backward pass.
        ctx.save_for_backward(x, *inner)
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, None]:
        x, *inner = ctx.saved_tensors
        hs, dx = iter(inner), None
        for slot, weight, mask, grad in zip(ctx.slots, ctx.weights, ctx.masks, grads, strict=True):
            dy = grad.contiguous()
            if ctx.needs_input_grad[0]:
                # Summed over the modules that share the input, as in `selfedit.lm.bank`.
                dx = torch.mm(dy, weight) if dx is None else dx.addmm_(dy, weight)
            # Where nothing trainable lies below, dx is None and the graph ends here.
            if slot is not None:
                _gradients_by_offsets(dy, dx, slot, ctx.route, x, mask, hs)
        return dx, None, None, None


def _gradients_by_offsets(
    dy: Tensor,
    dx: Tensor | None,
    slot: BankSlot,
    route: Offsets,
    x: Tensor,
    mask: Tensor | None,
    inner: Iterator[Tensor],
) -> None:
    h, ends = next(inner), route.ends
    inputs = x if mask is None else x * mask
    dh = F.grouped_mm(dy, slot.b, offs=ends).mul_(route.scale)  # [T, r]
    # Straight into the bank: each adapter's tokens are one group of the product.
    slot.grad_b.copy_(F.grouped_mm(dy.T, h, offs=ends))  # [K, out, r]
    slot.grad_a.copy_(F.grouped_mm(dh.T, inputs, offs=ends))  # [K, r, in]
    if dx is not None:
        through = F.grouped_mm(dh, slot.a, offs=ends)  # [T, in]
        dx.add_(through if mask is None else through.mul_(mask))


class FrozenGrouped(torch.autograd.Function):
    """scale · (x Aᵀ) Bᵀ of frozen adapters by offsets; only x gets a gradient."""

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, x: Tensor, slot: BankSlot, ends: Tensor, scale: Tensor
    ) -> Tensor:
        ctx.slot, ctx.ends, ctx.scale = slot, ends, scale
        h = F.grouped_mm(x, slot.a.mT, offs=ends).mul_(scale)
        return F.grouped_mm(h, slot.b.mT, offs=ends)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: D102
        # grouped_mm wants rows of contiguous memory; gradients of a sum may be expanded views.
        dh = F.grouped_mm(grads[0].contiguous(), ctx.slot.b, offs=ctx.ends).mul_(ctx.scale)
        return F.grouped_mm(dh, ctx.slot.a, offs=ctx.ends), None, None, None


def offsets_of(counts: Sequence[int], scales: Tensor, total: int, dtype: torch.dtype) -> Offsets:
    """Offsets of tokens packed in the adapters' order: so many of each; what is left of ``total``
    goes to the last.
    """
    ends = torch.tensor(counts).cumsum(0)
    ends[-1] = total
    per_token = (
        scales.flatten()
        .to(dtype)
        .repeat_interleave(
            ends.diff(prepend=ends.new_zeros(1)).to(scales.device), output_size=total
        )
    )
    return Offsets(ends.to(scales.device, torch.int32, non_blocking=True), per_token[:, None])
