"""The next token of every row: greedy, or drawn from the nucleus with the row's own random
numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

FIRST_K = 64
"""How many candidates are sorted at first; a row whose nucleus is larger is given eight times as
many.
"""
BLOCK = 64
"""Tokens of one block when candidates are looked for: the k likeliest lie in the k blocks with the
likeliest maxima.
"""


def next_tokens(logits: Tensor, temperature: float, top_p: float, uniforms: Tensor) -> Tensor:
    """Choose one token a row.

    Args:
        logits: ``[R, V]``.
        temperature: 0 takes the likeliest token; otherwise logits are divided by it.
        top_p: draw from the smallest set of likeliest tokens with at least this probability
            (nucleus sampling, Holtzman et al. 2019, arXiv 1904.09751); at 1 from all, and nothing
            is sorted.
        uniforms: one number in [0, 1) a row, ``[R]``; it alone decides the draw, so a row's text
            does not depend on which other rows are in the batch.

    Returns:
        Token ids, ``[R]``.
    """
    if temperature == 0:
        return logits.argmax(-1)
    # bfloat16's 8 bits would round small probabilities together.
    logits = logits.float()
    # The largest is taken off first: divided by a tiny temperature it would overflow.
    probs = torch.softmax((logits - logits.amax(-1, keepdim=True)) / temperature, -1)
    # Drawn in float32 on the CPU, compared in the type of the sums.
    uniforms = uniforms.to(probs)
    if top_p >= 1:
        return _drawn(probs, uniforms)
    if probs.device.type == "cuda":
        # Sorting all is cheaper there than asking which rows need how much.
        top, ids = probs.sort(dim=1, descending=True)
        # What comes before a token is below top_p: the token that crosses it is in.
        rank = _drawn(top.masked_fill(top.cumsum(1) - top >= top_p, 0.0), uniforms)
        return ids.gather(1, rank[:, None]).squeeze(1)
    chosen = torch.empty(len(probs), dtype=torch.long, device=probs.device)
    rows, k = torch.arange(len(probs), device=probs.device), min(FIRST_K, probs.shape[1])
    while len(rows):  # those still without a token; probs and uniforms are theirs
        top, ids = _likeliest(probs, k)  # [n, k], likeliest first
        before = top.cumsum(1) - top
        # Enough candidates: their sum covers the nucleus, or there are no more.
        settled = (top.sum(1) >= top_p) | (k == probs.shape[1])
        rank = _drawn(top.masked_fill(before >= top_p, 0.0), uniforms)
        chosen[rows[settled]] = ids.gather(1, rank[:, None]).squeeze(1)[settled]
        rows, probs, uniforms = rows[~settled], probs[~settled], uniforms[~settled]
        # Flat distributions are rare; starting small keeps the common case cheap.
        k = min(8 * k, probs.shape[1])
    return chosen


def log_probabilities(logits: Tensor, temperature: float, chosen: Tensor) -> Tensor:
    """How likely the chosen tokens were at this temperature, in nats, ``[R]``; the nucleus is not
    cut.

    Args:
        logits: ``[R, V]``, −inf where a rule forbids a token.
        temperature: above 0.
        chosen: token ids, ``[R]``.
    """
    logits = logits.float()
    scaled = (logits - logits.amax(-1, keepdim=True)) / temperature
    return scaled.gather(1, chosen[:, None]).squeeze(1) - scaled.logsumexp(-1)


def _drawn(weights: Tensor, uniforms: Tensor) -> Tensor:
    """The column in which each row's share of its weights falls, ``[R]``; never one of weight 0."""
    total = weights.cumsum(1)
    sums = total[:, -1:].contiguous()
    # right=True: a draw of exactly 0 falls on the first column with weight, not before it.
    chosen = torch.searchsorted(total, uniforms[:, None] * sums, right=True)
    # Rounding must not push a draw past the last column that has weight: the first at which the sum
    # is whole.
    return torch.minimum(chosen, torch.searchsorted(total, sums)).squeeze(1)


def _likeliest(probs: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row and where they are, largest first."""
    count, size = probs.shape
    if 4 * k * BLOCK >= size:  # so many blocks would be as much to sort as all
        return probs.topk(k)
    # Filled up with probabilities of 0, which never win.
    blocks = torch.nn.functional.pad(probs, (0, -size % BLOCK)).view(count, -1, BLOCK)
    _, best = blocks.amax(-1).topk(k, sorted=False)  # [R, k]
    top, column = blocks.gather(1, best[:, :, None].expand(-1, -1, BLOCK)).flatten(1).topk(k)
    # Back from (block, column in it) to the token's id.
    return top, best.gather(1, column // BLOCK) * BLOCK + column % BLOCK


def draw_uniforms(seeds: list[int], count: int) -> Tensor:
    """``count`` uniform numbers for each seed, ``[R, count]``."""
    rows = [torch.rand(count, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows) if rows else torch.empty(0, count)
