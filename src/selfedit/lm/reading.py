"""Reading token rows without writing: the last hidden states of many rows, each under its own
adapter or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from selfedit.errors import DataError
from selfedit.lm.attention import packed_attention
from selfedit.lm.bank import AdapterBank
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter, distinct_adapters
from selfedit.lm.segments import consecutive, make_segments

TOKENS = 2048
"""Tokens read in one pass, unless one row has more."""


def hidden_states(
    lm: LanguageModel,
    rows: Sequence[Sequence[int]],
    adapters: Sequence[Adapter | None] | None = None,
) -> Iterator[Tensor]:
    """For each row, in order, the last hidden states of its tokens, ``[tokens, D]``.

    Args:
        lm: the model.
        rows: token ids, none of them empty.
        adapters: one for each row, None for the plain model; or None for all.
    """
    for chunk, hidden in read_rows(lm, rows, adapters):
        yield from hidden.split([len(row) for row in chunk])


def read_rows(
    lm: LanguageModel,
    rows: Sequence[Sequence[int]],
    adapters: Sequence[Adapter | None] | None = None,
) -> Iterator[tuple[Sequence[Sequence[int]], Tensor]]:
    """The same, a pass at a time: its rows, and the hidden states of all their tokens end to end,
    ``[T, D]``.
    """
    chosen = list(adapters) if adapters is not None else [None] * len(rows)
    start = 0
    while start < len(rows):
        end, tokens = start + 1, len(rows[start])
        # In the caller's order, not by length: what comes out is what went in, row by row.
        while end < len(rows) and tokens + len(rows[end]) <= TOKENS:
            tokens += len(rows[end])
            end += 1
        yield rows[start:end], _read(lm, rows[start:end], chosen[start:end])
        start = end


@torch.inference_mode()
def _read(
    lm: LanguageModel, rows: Sequence[Sequence[int]], adapters: Sequence[Adapter | None]
) -> Tensor:
    if (longest := max(map(len, rows))) > lm.max_tokens:
        what = f"a row has {longest} tokens, the model takes {lm.max_tokens}"
        raise DataError(what, fix="split the text into shorter passages")
    spans = consecutive([len(row) for row in rows])
    ids = [token for row in rows for token in row]  # [T]
    distinct = distinct_adapters(adapters)
    bank = AdapterBank(lm.model, [adapter.spec for adapter in distinct]) if distinct else None
    with bank.attached() if bank else nullcontext():
        if bank is not None:
            for k, adapter in enumerate(distinct):
                bank.put(k, adapter)
            row_of = {id(adapter): k for k, adapter in enumerate(distinct)}
            owned: list[list[int]] = [[] for _ in distinct]  # the packed tokens of each adapter
            for span, adapter in zip(spans, adapters, strict=True):
                if adapter is not None:
                    owned[row_of[id(adapter)]] += span
            bank.assign(make_segments(owned, lm.device, lm.dtype, total=len(ids)))
        plan = packed_attention(np.array([len(row) for row in rows]), lm.device, lm.dtype)
        positions = [position for span in spans for position in range(len(span))]
        return lm.hidden(ids, positions, plan)  # [T, D]
