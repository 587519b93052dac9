"""How likely given answers are: the mean loss of their tokens after a prompt, each under its own
adapter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from selfedit.errors import DataError
from selfedit.lm.cores import OnTokens, in_order, on_cores, share_out
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.loss import head_loss
from selfedit.lm.reading import read
from selfedit.lm.segments import consecutive

MIN_TOKENS = 256
"""Tokens that every core reads at the least."""

Gold = tuple[tuple[int, ...], tuple[bool, ...]]
"""Token ids of a prompt with its answer, and which of them are the answer's."""


def answer_losses(
    lm: LanguageModel, golds: Sequence[Gold], adapters: Sequence[Adapter | None]
) -> list[float]:
    """For each sequence the mean loss of its answer's tokens in nats, under its adapter or none.

    The log-likelihood is its negative. Nothing is decoded: prompt and answer are read together, and
    only the answer's tokens go through the output head.

    Raises:
        DataError: a sequence marks no token as answer, or is longer than the model takes.
    """
    for number, (ids, marks) in enumerate(golds):
        if not any(marks[1:]) or len(ids) > lm.max_tokens:
            what = (
                f"{len(ids)} tokens, {sum(marks[1:])} of them the answer's; the model takes"
                f" {lm.max_tokens}"
            )
            raise DataError(
                what, where=f"answer {number}", fix="give an answer, or shorten its question"
            )

    def losses_of(model: LanguageModel, part: Sequence[int], _: OnTokens) -> list[float]:
        return _losses(model, [golds[k] for k in part], [adapters[k] for k in part])

    loads = [len(ids) for ids, _ in golds]
    parts = share_out(lm, loads, sum(loads) // MIN_TOKENS)
    return in_order(parts, on_cores(lm, parts, losses_of, lambda _: None))


@torch.inference_mode()
def _losses(
    lm: LanguageModel, golds: Sequence[Gold], adapters: Sequence[Adapter | None]
) -> list[float]:
    found: list[float] = []
    for chunk, hidden in read(lm, [ids for ids, _ in golds], adapters):
        part = golds[len(found) : len(found) + len(chunk)]
        marked = [[t for t in range(1, len(ids)) if marks[t]] for ids, marks in part]
        spans = consecutive([len(ids) for ids, _ in part])
        before = [span[t - 1] for span, of in zip(spans, marked, strict=True) for t in of]
        after = [ids[t] for (ids, _), of in zip(part, marked, strict=True) for t in of]
        targets, places = (
            torch.tensor(after, device=lm.device),
            torch.tensor(before, device=lm.device),
        )
        weights = torch.ones(
            len(after), device=lm.device, dtype=torch.promote_types(lm.dtype, torch.float32)
        )
        _, losses = head_loss(hidden.index_select(0, places), lm.head, targets, weights)
        found += [float(of.mean()) for of in losses.split([len(of) for of in marked])]
    return found
