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
from selfedit.lm.reading import read_rows
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
    # Before the first pass: a mistake in the last sequence should not cost the others' time.
    for number, (ids, marks) in enumerate(golds):
        # The first token is never predicted, so a mark there does not count.
        if not any(marks[1:]) or len(ids) > lm.max_tokens:
            what = (
                f"{len(ids)} tokens, {sum(marks[1:])} of them the answer's; the model takes"
                f" {lm.max_tokens}"
            )
            raise DataError(
                what, where=f"answer {number}", fix="give an answer, or shorten its question"
            )

    def losses_of(model: LanguageModel, part: Sequence[int], _: OnTokens) -> list[float]:
        return _answer_losses(model, [golds[k] for k in part], [adapters[k] for k in part])

    loads = [len(ids) for ids, _ in golds]
    parts = share_out(lm, loads, sum(loads) // MIN_TOKENS)
    return in_order(parts, on_cores(lm, parts, losses_of, lambda _: None))


@torch.inference_mode()
def _answer_losses(
    lm: LanguageModel, golds: Sequence[Gold], adapters: Sequence[Adapter | None]
) -> list[float]:
    means: list[float] = []
    wide = torch.promote_types(lm.dtype, torch.float32)
    for chunk, hidden in read_rows(lm, [ids for ids, _ in golds], adapters):
        part = golds[len(means) : len(means) + len(chunk)]
        before, after, counts = [], [], []
        for (ids, marks), span in zip(
            part, consecutive([len(ids) for ids, _ in part]), strict=True
        ):
            marked = [t for t in range(1, len(ids)) if marks[t]]
            before += [span[t - 1] for t in marked]  # the packed row that predicts token t
            after += [ids[t] for t in marked]
            counts.append(len(marked))
        predicting = hidden.index_select(0, torch.tensor(before, device=lm.device))  # [N, D]
        weights = torch.ones(len(after), device=lm.device, dtype=wide)
        targets = torch.tensor(after, device=lm.device)
        _, losses = head_loss(predicting, lm.head, targets, weights, lm.cap)
        means += [float(answer.mean()) for answer in losses.split(counts)]
    return means
