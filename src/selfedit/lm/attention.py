"""Attention for packed tokens, with and without a key/value cache.

transformers lets a model's attention be replaced by name. Ours is named ``selfedit`` and does what
the *plan* says that
the caller passes along: attend within each packed sequence (training), the same while keeping keys
and values (prefill), or one new token a row against the kept ones (decode).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface

from selfedit.lm.segments import IntArray, Pad, Segments, Unpad, segments_of

# The name under which transformers' attention registry knows ours; a model's config holds it.
NAME = "selfedit"
_CHANGES = ("softcap", "s_aux", "sliding_window", "position_bias", "attention_bias", "head_mask")
"""What models ask of an attention beyond its mask and scale."""
MAX_BUCKETS = 4
"""Buckets of one pass's sequences at the most: each is a call of its own for every layer."""


class PlanMissing(RuntimeError):
    """A forward pass came to attention without a plan."""


class Plan(Protocol):
    """What attention does in one forward pass."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """q ``[T, H, D]``, k and v ``[T, Hkv, D]`` to ``[T, H, D]``."""
        ...


class Packed:
    """Causal attention within each sequence of a packed batch."""

    def __init__(self, segments: Segments) -> None:
        self.segments = segments

    # SDPA wants [n, H, L, D], the packed layout is [T, H, D].
    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """See `Plan`."""
        parts = [
            # Padding is on the right, so no token of a sequence sees it and no mask is needed.
            # Where there are fewer key/value heads than query heads the kernel shares them: no copy
            # is made.
            F.scaled_dot_product_attention(
                qb.transpose(1, 2),
                kb.transpose(1, 2),
                vb.transpose(1, 2),
                is_causal=True,
                scale=scale,
                enable_gqa=k.shape[1] != q.shape[1],
            ).transpose(1, 2)
            for qb, kb, vb in zip(self._pad(q), self._pad(k), self._pad(v), strict=True)
        ]
        # One bucket that is the packed tensor itself: there is nothing to scatter back.
        if len(parts) == 1 and self.segments.buckets[0].is_packed:
            return parts[0].flatten(0, 1)
        return Unpad.apply(self.segments, *parts)

    def _pad(self, packed: Tensor) -> tuple[Tensor, ...]:
        if len(self.segments.buckets) == 1 and self.segments.buckets[0].is_packed:
            return (self.segments.buckets[0].pad(packed.contiguous()),)
        return Pad.apply(packed, self.segments)


class Ragged:
    """Causal attention within each sequence of a packed batch by offsets: nothing is padded. For a
    GPU, in 16 bits.

    Attributes:
        ends: where sequences end, after a leading 0, ``[S + 1]`` int32; a sequence may have no
            token.
        longest: no sequence has more tokens.
    """

    def __init__(self, ends: Tensor, longest: int) -> None:
        self.ends, self.longest = ends, longest

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """See `Plan`."""
        # The operator itself, not torch.nn.attention.varlen: that one's arguments differ between
        # torch 2.10 and 2.13.
        return torch.ops.aten._flash_attention_forward(
            q, k, v, self.ends, self.ends, self.longest, self.longest, 0.0, True, False, scale=scale
        )[0]


def packed_attention(
    lengths: IntArray, device: torch.device, dtype: torch.dtype
) -> Packed | Ragged:
    """Attention within sequences laid end to end, the way the device does it best."""
    if device.type == "cuda" and dtype in (torch.bfloat16, torch.float16):
        # A leading 0, as flash attention reads offsets; int32 is what its kernel takes.
        ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
        return Ragged(torch.from_numpy(ends).to(device), int(lengths.max()))
    return Packed(
        segments_of(np.arange(int(lengths.sum())), lengths, device, dtype, most=MAX_BUCKETS)
    )


class KeyValueCache:
    """Keys and values of R rows, preallocated for the longest row: ``[R, Hkv, S, D]`` a layer.

    Row r holds its own ``lengths[r]`` tokens from slot 0 on: rows of different length need no
    padding in front.
    """

    def __init__(
        self, layers: int, rows: int, heads: int, slots: int, size: int, like: Tensor
    ) -> None:
        # Zeros, not empty: a slot not yet written is masked, but NaN in it would pass through the
        # product with 0.
        shape = (rows, heads, slots, size)
        self.keys = [like.new_zeros(shape) for _ in range(layers)]
        self.values = [like.new_zeros(shape) for _ in range(layers)]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone, in this order, ``[n]``."""
        # A copy, not a view: the old stores are freed, so memory follows the rows that are left.
        self.keys = [store.index_select(0, rows) for store in self.keys]
        self.values = [store.index_select(0, rows) for store in self.values]

    def move(self, target: int, source: int) -> None:
        """Copy row ``source`` over row ``target``."""
        for store in (*self.keys, *self.values):
            store[target].copy_(store[source])


class Prefill:
    """Packed attention that also keeps keys and values: token ``source[i]`` goes to ``slots[i]`` of
    row ``rows[i]``.

    A prompt that several rows share is read once and written to each of them.
    """

    def __init__(
        self,
        packed: Packed | Ragged,
        rows: Tensor,
        slots: Tensor,
        source: Tensor,
        cache: KeyValueCache,
    ) -> None:
        self.packed = packed
        self.rows, self.slots, self.source, self.cache = rows, slots, source, cache

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """See `Plan`."""
        # [R', Hkv, D] into [rows, :, slots, :]: prompts that rows share are written once for each
        # row.
        self.cache.keys[layer][self.rows, :, self.slots] = k.index_select(0, self.source)
        self.cache.values[layer][self.rows, :, self.slots] = v.index_select(0, self.source)
        return self.packed.attend(layer, q, k, v, scale)


class Decode:
    """One new token a row against the cache.

    Attributes:
        lengths: tokens in each row's cache before this one, ``[R]``.
        mask: 0 where a slot may be seen and −inf where not, ``[R, 1, 1, S]``, S the longest row
            with its new token.
    """

    def __init__(self, cache: KeyValueCache, lengths: Tensor, span: int | None = None) -> None:
        """``span``: slots that are looked at, where the host is not to ask the device for the
        longest row.
        """
        self.cache, self.lengths = cache, lengths
        self.rows = torch.arange(lengths.numel(), device=lengths.device)
        # int() waits for the device: a static decoder passes its span instead.
        self.span = int(lengths.max()) + 1 if span is None else span
        # slot <= length, the new token's own slot included: it sees itself.
        visible = torch.arange(self.span, device=lengths.device)[None] <= lengths[:, None]
        like = cache.keys[0]
        self.mask = torch.zeros(visible.shape, device=like.device, dtype=like.dtype).masked_fill_(
            ~visible, -torch.inf
        )
        # [R, S] to [R, 1, 1, S]: one mask for all heads and all queries of a group.
        self.mask = self.mask[:, None, None, :]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """See `Plan`; here T is the number of rows."""
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        # Written before it is read: the new token attends to itself too.
        keys[self.rows, :, self.lengths] = k
        values[self.rows, :, self.lengths] = v
        r, h, d = q.shape
        # Query heads that share a key/value head side by side, so that keys are not repeated for
        # them.
        grouped = q.view(r, keys.shape[1], h // keys.shape[1], d)  # [R, Hkv, G, D]
        seen_keys, seen_values = (
            keys[:r, :, : self.span],
            values[:r, :, : self.span],
        )  # [R, Hkv, S, D]
        # The scale goes on the queries, which are fewer than the scores.
        scores = torch.matmul(grouped * scale, seen_keys.mT).add_(self.mask)  # [R, Hkv, G, S]
        return torch.matmul(scores.softmax(-1), seen_values).view(r, h, d)


def cache_shape(config: Any) -> tuple[int, int, int]:
    """Layers, key/value heads and head size of a model with these settings."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers, config.num_key_value_heads, size


def plan_in(kwargs: Mapping[str, Any]) -> Plan:
    """The plan that the caller passed along."""
    # Our attention has no mask of its own to fall back on: without a plan it would attend across
    # sequences.
    plan: Plan | None = kwargs.get("plan")
    if plan is None:
        message = (
            "this model is held by selfedit: call it through selfedit, or load it anew with"
            " transformers"
        )
        raise PlanMissing(message)
    return plan


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    plan = plan_in(kwargs)
    if odd := [name for name in _CHANGES if kwargs.get(name) is not None]:
        raise RuntimeError(f"its attention has a part that is not computed here ({odd[0]})")
    # transformers gives [1, H, T, D] and wants [1, T, H, D] back.
    q, k, v = (t[0].transpose(0, 1) for t in (query, key, value))
    return plan.attend(module.layer_idx, q, k, v, kwargs["scaling"]).unsqueeze(0), None


AttentionInterface.register(NAME, _attention)
