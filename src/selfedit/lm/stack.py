"""Several adapters as one: merging LoRA updates without touching the weights.

The sum of updates s₁·B₁A₁ + s₂·B₂A₂ is one update of rank r₁ + r₂: the As on top of each other, the
Bs, with their scales in them, side by side. It is exact, and the base stays shared, so models that
have merged different adapters train and answer in one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from selfedit.errors import UsageError
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.models.openable import openable_name


def stack(adapters: Sequence[Adapter], factors: Sequence[float] | None = None) -> Adapter | None:
    """The sum of several adapters as one of their ranks' sum and scale 1; None for no adapters.

    Args:
        adapters: of one base model; a module one of them lacks counts as zero there.
        factors: what each is multiplied by; 1 if not given.

    Raises:
        UsageError: they are of different base models, or there is not one factor an adapter.
    """
    if not adapters:
        return None
    factors = [1.0] * len(adapters) if factors is None else list(factors)
    if len(factors) != len(adapters):
        raise UsageError(
            f"{len(adapters)} adapters but {len(factors)} factors", fix="give one factor an adapter"
        )
    # One that was read from its files names its base as peft does.
    if len(bases := {openable_name(adapter.base) for adapter in adapters}) > 1:
        what = f"adapters of different models cannot be added: {', '.join(sorted(bases))}"
        raise UsageError(what, fix="stack adapters of one base model")
    rank = sum(adapter.spec.rank for adapter in adapters)
    names = list(dict.fromkeys(name for adapter in adapters for name in adapter.tensors))
    targets = tuple(
        dict.fromkeys(target for adapter in adapters for target in adapter.spec.targets)
    )
    tensors = {name: _joined(name, adapters, factors) for name in names}
    each = [adapter.spec.layers for adapter in adapters]
    # One adapter of all layers makes the sum one of all layers.
    layers = None if None in each else tuple({layer for numbers in each for layer in numbers or ()})
    # alpha = rank, so that the scale is 1: the parts' scales are in their Bs.
    return Adapter(
        LoraSpec(rank=rank, alpha=rank, targets=targets, layers=layers), tensors, adapters[0].base
    )


def on_top(start: Adapter | None, adapter: Adapter) -> Adapter:
    """An adapter together with what it was trained on top of; it keeps its own losses and
    tokens.
    """
    if start is None or (stacked := stack([start, adapter])) is None:
        return adapter
    return replace(stacked, losses=adapter.losses, tokens=adapter.tokens)


def _joined(
    name: str, adapters: Sequence[Adapter], factors: Sequence[float]
) -> tuple[Tensor, Tensor]:
    like_a, like_b = next(adapter.tensors[name] for adapter in adapters if name in adapter.tensors)
    parts_a, parts_b = [], []
    for adapter, factor in zip(adapters, factors, strict=True):
        rank = adapter.spec.rank
        # A module one of them lacks: zeros of its rank keep the columns in step.
        a, b = adapter.tensors.get(
            name, (like_a.new_zeros(rank, like_a.shape[1]), like_b.new_zeros(len(like_b), rank))
        )
        parts_a.append(a)  # [r, in]
        parts_b.append(factor * adapter.spec.scale * b)  # [out, r]
    return torch.cat(parts_a), torch.cat(parts_b, dim=1)
