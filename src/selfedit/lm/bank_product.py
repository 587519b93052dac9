"""Linear modules that add a bank's adapters: one product for all tokens, one for each adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfedit.lm.grouped import Offsets, grouped_product
from selfedit.lm.segments import Bucket, Segments

Route = Segments | Offsets
"""Which packed tokens go through which adapter: as padded buckets, or as offsets of tokens in the
adapters' order.
"""


class BankLinear(nn.Linear):
    """A frozen linear module that adds the attached bank's adapters; without one it is a plain
    linear module.
    """

    slot: BankSlot | None = None

    @classmethod
    def wrap(cls, linear: nn.Linear) -> BankLinear:
        """Take over a linear module's parameters; nothing is copied."""
        # On "meta" the constructor allocates nothing; the weights are the linear module's own.
        with torch.device("meta"):
            wrapped = cls(linear.in_features, linear.out_features, bias=linear.bias is not None)
        wrapped.weight = linear.weight
        wrapped.bias = linear.bias
        return wrapped

    def forward(self, input: Tensor) -> Tensor:
        """``[…, in]`` to ``[…, out]``."""
        packed = input.reshape(-1, self.in_features)  # [T, in]
        return shared_product(packed, (self,))[0].view(*input.shape[:-1], self.out_features)


def shared_product(x: Tensor, modules: tuple[BankLinear, ...]) -> tuple[Tensor, ...]:
    """Several linear modules on one packed input ``[T, in]``, each ``[T, out]``, with the attached
    bank's adapters.

    Together they pad the input once, and their gradients meet in one buffer.
    """
    slots = [module.slot for module in modules if module.slot is not None]
    route = slots[0].route if slots else None
    # No token goes through an adapter: the plain product, and no autograd node of ours.
    if route is None or (isinstance(route, Segments) and not route.buckets):
        return tuple(F.linear(x, module.weight, module.bias) for module in modules)
    # Offsets on a GPU, padded buckets on a CPU: which one is decided where the route is made.
    if isinstance(route, Offsets):
        outs = grouped_product(x, slots[0].anchor, route, modules)
    else:
        product = _BankProduct.apply(x, slots[0].anchor, route, modules)
        outs = cast("tuple[Tensor, ...]", product)
    # Frozen adapters come on top outside of the Function: autograd knows how to go through them.
    below = [None if module.slot is None else module.slot.below for module in modules]
    return tuple(
        out if add is None else out + add(x, route) for out, add in zip(outs, below, strict=True)
    )


class BankSlot:
    """One module's adapters and their gradients, views of the bank's buffers."""

    def __init__(
        self,
        a: Tensor,
        b: Tensor,
        grad_a: Tensor,
        grad_b: Tensor,
        scale: Tensor,
        anchor: Tensor | None,
    ) -> None:
        self.a, self.b = a, b  # [K, r, in], [K, out, r], in the dtype that the model computes in
        self.grad_a, self.grad_b = grad_a, grad_b
        self.scale = scale  # [K, 1, 1]
        # requires grad in training, so that autograd calls our backward even in the lowest layer
        self.anchor = anchor
        self.route: Route | None = None
        # Frozen adapters under this one: `selfedit.lm.below`.
        self.below: Callable[[Tensor, Route], Tensor] | None = None
        # [T, in], this step's mask, already divided by the share kept.
        self.dropout: Tensor | None = None

    def pick(self, bucket: Bucket, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """A bucket's A, B and scale, in the dtype of the activations; views where its adapters
        stand side by side.
        """
        if bucket.run is not None:
            # A slice of neighbours is a view; anything else has to be copied together.
            a, b, scale = (t[bucket.run] for t in (self.a, self.b, self.scale))
        else:
            a, b, scale = (t.index_select(0, bucket.segments) for t in (self.a, self.b, self.scale))
        return a.to(dtype), b.to(dtype), scale.to(dtype)


class _BankProduct(torch.autograd.Function):
    """x Wᵀ + scale · (x Aᵀ) Bᵀ for every segment with its own A and B; gradients go straight into
    the bank's buffer.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        anchor: Tensor | None,
        segments: Segments,
        modules: tuple[BankLinear, ...],
    ) -> tuple[Tensor, ...]:
        outs, inner = [], []
        padded = _Padded(x, segments)
        for module in modules:
            y = F.linear(x, module.weight, module.bias)  # [T, out]
            if module.slot is not None:
                inner += _add_adapters(y, module.slot, segments, padded)
            outs.append(y)
        # Non-tensors hang on ctx: save_for_backward takes tensors only.
        ctx.slots = [module.slot for module in modules]
        ctx.weights = [module.weight for module in modules]
        ctx.masks = [module.slot.dropout if module.slot is not None else None for module in modules]
        ctx.segments = segments
        # x and the thin products are kept, not padded copies of x: padding again costs less than
        # the memory.
        ctx.save_for_backward(x, *inner)
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, None]:
        x, *inner = ctx.saved_tensors
        segments, hs = ctx.segments, iter(inner)
        # Padded anew in the backward pass, once for all modules that share the input.
        padded = _Padded(x, segments)
        dx = None
        for slot, weight, mask, grad in zip(ctx.slots, ctx.weights, ctx.masks, grads, strict=True):
            # Gradients of views come in with odd strides; the products below want rows.
            dy = grad.contiguous()
            if ctx.needs_input_grad[0]:
                # One buffer for the input's gradient of q, k and v together, instead of three and
                # two sums.
                dx = torch.mm(dy, weight) if dx is None else dx.addmm_(dy, weight)
            # Where nothing trainable lies below, dx is None and the graph ends here.
            if slot is not None:
                _adapter_gradients(dy, dx, slot, segments, padded, mask, hs)
        return dx, None, None, None


class _Padded:
    """A packed input, padded bucket by bucket; without a dropout mask the modules that share it
    share this too.
    """

    def __init__(self, x: Tensor, segments: Segments) -> None:
        self.x, self.segments = x, segments
        self._plain: list[Tensor] | None = None

    def inputs(self, mask: Tensor | None) -> list[Tensor]:
        """What a module's adapters see, a bucket each: ``[n, L, in]``."""
        # A mask is a module's own, so its padded input cannot be shared.
        if mask is not None:
            masked = self.x * mask
            return [bucket.pad(masked) for bucket in self.segments.buckets]
        if self._plain is None:
            self._plain = [bucket.pad(self.x) for bucket in self.segments.buckets]
        return self._plain


def _add_adapters(y: Tensor, slot: BankSlot, segments: Segments, padded: _Padded) -> list[Tensor]:
    """Add scale · (x Aᵀ) Bᵀ to y in place; returns scale · x Aᵀ of every bucket, ``[n, L, r]``."""
    inner, updates = [], []
    for bucket, inputs in zip(segments.buckets, padded.inputs(slot.dropout), strict=True):
        a, b, scale = slot.pick(bucket, y.dtype)
        # The scale on the thin side: r numbers a token, not `out`.
        h = torch.bmm(inputs, a.mT).mul_(scale)  # [n, L, r]
        inner.append(h)
        # Where the bucket is the packed tensor, adding is part of the product.
        if bucket.is_packed:
            y.view(*h.shape[:2], -1).baddbmm_(h, b.mT)
        else:
            updates.append(torch.bmm(h, b.mT))  # [n, L, out]
    if updates:
        y.add_(segments.unpad(updates))
    return inner


def _adapter_gradients(
    dy: Tensor,
    dx: Tensor | None,
    slot: BankSlot,
    segments: Segments,
    padded: _Padded,
    mask: Tensor | None,
    inner: Iterator[Tensor],
) -> None:
    """Gradients of A and B into the bank's buffer, and what flows back through the adapters onto dx
    in place.
    """
    parts = []
    for bucket, inputs in zip(segments.buckets, padded.inputs(mask), strict=True):
        a, b, scale = slot.pick(bucket, dy.dtype)
        h = next(inner)
        # Padding slots hold other rows' values: zeroed here, or they would count in the sums over
        # tokens.
        dyb = bucket.pad(dy) if bucket.keep is None else bucket.pad_zero(dy)  # [n, L, out]
        dh = torch.bmm(dyb, b).mul_(scale)  # [n, L, r]
        _put(slot.grad_b, bucket, torch.bmm(dyb.mT, h))
        _put(slot.grad_a, bucket, torch.bmm(dh.mT, inputs))
        if dx is None:
            continue
        # In place and in one product where nothing is padded and no mask stands between.
        if bucket.is_packed and mask is None:
            dx.view(*dh.shape[:2], -1).baddbmm_(dh, a)
        else:
            parts.append(torch.bmm(dh, a))  # [n, L, in]
    if parts and dx is not None:
        through = segments.unpad(parts)
        # The adapters saw x · mask, so what flows back to x passes the mask again.
        dx.add_(through if mask is None else through * mask)


def _put(grads: Tensor, bucket: Bucket, part: Tensor) -> None:
    """Set the gradients of the adapters of a bucket: a module runs once a step, so there is nothing
    to add to.
    """
    # A slice is copied into in place; scattered rows need an index.
    if bucket.run is not None:
        grads[bucket.run].copy_(part)
    else:
        grads.index_copy_(0, bucket.segments, part.to(grads.dtype))
