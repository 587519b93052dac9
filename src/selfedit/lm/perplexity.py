"""How well a model predicts given texts, with an adapter or without: the mean loss of their
tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from selfedit.errors import DataError
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.loss import head_loss
from selfedit.lm.reading import read_rows
from selfedit.lm.segments import consecutive


def mean_losses(
    lm: LanguageModel,
    texts: Sequence[str],
    adapter: Adapter | Sequence[Adapter | None] | None = None,
) -> list[float]:
    """For each text the mean loss of its tokens in nats, the end of the text included; all but the
    first token, where the tokenizer puts no beginning of text before it.

    Args:
        lm: the model.
        texts: none of them empty.
        adapter: one for all, or one (or None) for each text.

    Raises:
        DataError: a text is empty or longer than the model takes.
    """
    rows = [lm.document(text) for text in texts]
    for number, row in enumerate(rows):
        if not len(lm.bos) + 1 < len(row) <= lm.max_tokens:
            around = len(lm.bos) + 1
            most = lm.max_tokens - around
            what = f"the text has {len(row) - around} tokens; the model takes 1 to {most}"
            raise DataError(
                what, where=f"text {number}", fix="split the text into shorter passages"
            )
    return row_losses(lm, rows, adapter)


def row_losses(
    lm: LanguageModel,
    rows: Sequence[Sequence[int]],
    adapter: Adapter | Sequence[Adapter | None] | None,
) -> list[float]:
    """For each row of token ids the mean loss of every token but the first, in nats.

    Args:
        lm: the model.
        rows: token ids, two or more each.
        adapter: one for all, or one (or None) for each row.
    """
    if adapter is None or isinstance(adapter, Adapter):
        adapter = [adapter] * len(rows)
    return [float(losses.mean()) for losses in token_losses(lm, rows, adapter)]


@torch.inference_mode()
def token_losses(
    lm: LanguageModel, rows: Sequence[Sequence[int]], adapters: Sequence[Adapter | None]
) -> Iterator[Tensor]:
    """For each row of token ids the loss of every token but the first, in nats, ``[tokens -
    1]``.
    """
    for chunk, hidden in read_rows(lm, rows, adapters):
        spans = consecutive([len(row) for row in chunk])
        predicting = torch.tensor(
            [token for span in spans for token in span[:-1]], device=lm.device
        )
        targets = torch.tensor([token for row in chunk for token in row[1:]], device=lm.device)
        weights = torch.ones(
            len(targets), device=lm.device, dtype=torch.promote_types(lm.dtype, torch.float32)
        )
        _, losses = head_loss(hidden.index_select(0, predicting), lm.head, targets, weights, lm.cap)
        yield from losses.split([len(row) - 1 for row in chunk])
