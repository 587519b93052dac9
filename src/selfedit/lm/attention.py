"""Attention for packed tokens, with and without a key/value cache.

transformers lets a model's attention be replaced by name. Ours is named ``selfedit`` and does what
the *plan* says that
the caller passes along: attend within each packed sequence (training), the same while keeping keys
and values (prefill), or one new token a row against the kept ones (decode).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface

from selfedit.lm.segments import IntArray, Pad, Segments, Unpad, segments_of

# The name under which transformers' attention registry knows ours; a model's config holds it.
NAME = "selfedit"
_CHANGES = ("s_aux", "position_bias", "attention_bias", "head_mask")
"""What models ask of an attention beyond its mask, scale, window and cap."""
QUERIES = 256
"""Tokens whose windowed or capped scores are formed at once, at the least."""
MAX_BUCKETS = 4
"""Buckets of one pass's sequences at the most: each is a call of its own for every layer."""


class PlanMissing(RuntimeError):
    """A forward pass came to attention without a plan."""


class Scoring(NamedTuple):
    """How a layer weighs the tokens that it sees.

    Attributes:
        scale: what products of queries and keys are multiplied by.
        window: a token sees itself and the ``window - 1`` tokens before it; None for all of them.
        cap: c of c · tanh(score / c), which keeps scores within ±c (Gemma Team 2024, arXiv
            2408.00118); None for scores as they are.
    """

    scale: float
    window: int | None = None
    cap: float | None = None


class Plan(Protocol):
    """What attention does in one forward pass."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scoring: Scoring) -> Tensor:
        """q ``[T, H, D]``, k and v ``[T, Hkv, D]`` to ``[T, H, D]``."""
        ...


class Packed:
    """Causal attention within each sequence of a packed batch."""

    def __init__(self, segments: Segments) -> None:
        self.segments = segments

    # SDPA wants [n, H, L, D], the packed layout is [T, H, D].
    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scoring: Scoring) -> Tensor:
        """See `Plan`."""
        parts = [
            # A sequence's token n is in slot n of its row, so slots say how far apart two are.
            _causal(qb.transpose(1, 2), kb.transpose(1, 2), vb.transpose(1, 2), scoring)
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


def _causal(q: Tensor, k: Tensor, v: Tensor, scoring: Scoring) -> Tensor:
    """Causal attention of sequences that begin in slot 0, padded on the right: q ``[n, H, L, D]``,
    k and v ``[n, Hkv, L, D]`` to ``[n, L, H, D]``.
    """
    length = q.shape[2]
    window = min(scoring.window or length, length)
    if scoring.cap is None and window == length:
        # Padding is on the right, so no token of a sequence sees it and no mask is needed.
        # Where there are fewer key/value heads than query heads the kernel shares them: no copy is
        # made.
        return F.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scoring.scale, enable_gqa=k.shape[1] != q.shape[1]
        ).transpose(1, 2)
    # Queries in blocks, each with the keys that one of its tokens sees: what is out of every
    # token's window costs nothing.
    step = max(window, QUERIES)
    parts = []
    for start in range(0, length, step):
        first, stop = max(0, start - window + 1), min(start + step, length)
        keys, values = (t[:, :, first:stop] for t in (k, v))
        places = torch.arange(first, stop, device=q.device)
        distance = places[start - first :, None] - places  # [queries, keys]
        visible = (distance >= 0) & (distance < window)
        parts.append(_masked(q[:, :, start:stop], keys, values, visible, scoring))
    return torch.cat(parts, 2).transpose(1, 2)


def _masked(q: Tensor, k: Tensor, v: Tensor, visible: Tensor, scoring: Scoring) -> Tensor:
    """Attention of q ``[n, H, L, D]`` to the keys that ``visible``, ``[L, S]``, marks."""
    shared = k.shape[1] != q.shape[1]
    if scoring.cap is None:
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=visible, scale=scoring.scale, enable_gqa=shared
        )
    grouped = q.unflatten(1, (k.shape[1], -1))  # [n, Hkv, G, L, D]
    scores = _capped((grouped * scoring.scale) @ k[:, :, None].mT, scoring.cap)
    weights = scores.masked_fill(~visible, -torch.inf).softmax(-1)
    return (weights @ v[:, :, None]).flatten(1, 2)


def _capped(scores: Tensor, cap: float) -> Tensor:
    return (scores / cap).tanh() * cap


class Ragged:
    """Causal attention within each sequence of a packed batch by offsets: nothing is padded. For a
    GPU, in 16 bits.

    Attributes:
        ends: where sequences end, after a leading 0, ``[S + 1]`` int32; a sequence may have no
            token.
        longest: no sequence has more tokens.
        lengths: tokens of each sequence where the host knows them, ``[S]``; scores are capped only
            there, since the kernel has no caps.
    """

    def __init__(self, ends: Tensor, longest: int, lengths: IntArray | None = None) -> None:
        self.ends, self.longest, self.lengths = ends, longest, lengths
        self._padded: Packed | None = None

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scoring: Scoring) -> Tensor:
        """See `Plan`."""
        if scoring.cap is not None:
            return self._by_padding(q).attend(layer, q, k, v, scoring)
        # The kernel counts the tokens before a query alone, a window the query's own too.
        before = {} if scoring.window is None else {"window_size_left": scoring.window - 1}
        # The operator itself, not torch.nn.attention.varlen: that one's arguments differ between
        # torch 2.10 and 2.13.
        return torch.ops.aten._flash_attention_forward(
            q,
            k,
            v,
            self.ends,
            self.ends,
            self.longest,
            self.longest,
            0.0,
            True,
            False,
            scale=scoring.scale,
            **before,
            **({"window_size_right": 0} if before else {}),
        )[0]

    def _by_padding(self, like: Tensor) -> Packed:
        if self.lengths is None:
            raise RuntimeError(
                "capped scores have no kernel for lengths that the device alone knows"
            )
        if self._padded is None:
            self._padded = _padded_attention(self.lengths, like.device, like.dtype)
        return self._padded


def packed_attention(
    lengths: IntArray, device: torch.device, dtype: torch.dtype
) -> Packed | Ragged:
    """Attention within sequences laid end to end, the way the device does it best."""
    if device.type == "cuda" and dtype in (torch.bfloat16, torch.float16):
        # A leading 0, as flash attention reads offsets; int32 is what its kernel takes.
        ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
        return Ragged(torch.from_numpy(ends).to(device), int(lengths.max()), lengths)
    return _padded_attention(lengths, device, dtype)


def _padded_attention(lengths: IntArray, device: torch.device, dtype: torch.dtype) -> Packed:
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

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scoring: Scoring) -> Tensor:
        """See `Plan`."""
        # [R', Hkv, D] into [rows, :, slots, :]: prompts that rows share are written once for each
        # row.
        self.cache.keys[layer][self.rows, :, self.slots] = k.index_select(0, self.source)
        self.cache.values[layer][self.rows, :, self.slots] = v.index_select(0, self.source)
        return self.packed.attend(layer, q, k, v, scoring)


class Decode:
    """One new token a row against the cache.

    Attributes:
        lengths: tokens in each row's cache before this one, ``[R]``.
    """

    def __init__(self, cache: KeyValueCache, lengths: Tensor, span: int | None = None) -> None:
        """``span``: slots that are looked at, where the host is not to ask the device for the
        longest row.
        """
        self.cache, self.lengths = cache, lengths
        self.rows = torch.arange(lengths.numel(), device=lengths.device)
        # int() waits for the device: a static decoder passes its span instead.
        self.span = int(lengths.max()) + 1 if span is None else span
        self._masks: dict[int | None, Tensor] = {}

    def mask(self, window: int | None) -> Tensor:
        """0 where a slot may be seen and −inf where not, ``[R, 1, 1, S]``, S the longest row with
        its new token; formed once for all layers of a window.
        """
        if window not in self._masks:
            slots, last = torch.arange(self.span, device=self.lengths.device), self.lengths[:, None]
            # slot <= length, the new token's own slot included: it sees itself.
            visible = slots <= last
            if window is not None:
                visible &= slots > last - window
            like = self.cache.keys[0]
            mask = torch.zeros(visible.shape, device=like.device, dtype=like.dtype)
            # [R, S] to [R, 1, 1, S]: one mask for all heads and all queries of a group.
            self._masks[window] = mask.masked_fill_(~visible, -torch.inf)[:, None, None, :]
        return self._masks[window]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scoring: Scoring) -> Tensor:
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
        scores = torch.matmul(grouped * scoring.scale, seen_keys.mT)  # [R, Hkv, G, S]
        if scoring.cap is not None:
            scores = _capped(scores, scoring.cap)
        scores = scores.add_(self.mask(scoring.window))
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
    scoring = Scoring(kwargs["scaling"], kwargs.get("sliding_window"), kwargs.get("softcap"))
    return plan.attend(module.layer_idx, q, k, v, scoring).unsqueeze(0), None


AttentionInterface.register(NAME, _attention)
