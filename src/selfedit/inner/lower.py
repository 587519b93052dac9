"""The layers below the lowest adapter: the base's own, so each sequence goes through them once, not
once an epoch.

It is exact: what they make of a sequence depends on no adapter and on no other sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from selfedit.inner.job import AdaptJob
from selfedit.inner.plan import Material, as_tensor
from selfedit.lm.attention import packed_attention
from selfedit.lm.block import run_layers
from selfedit.lm.load import LanguageModel

TOKENS = 4096
"""Tokens that go through the lower layers in one pass."""


@dataclass(frozen=True)
class Lower:
    """What goes into layer ``first``, for every token of every distinct sequence end to end, ``[R,
    D]``.
    """

    first: int
    states: Tensor


def lower_outputs(
    lm: LanguageModel, jobs: Sequence[AdaptJob], data: Sequence[Sequence[Material]]
) -> tuple[Lower | None, list[list[Material]]]:
    """The lower layers' outputs, if no adapter is in them, and the sequences with their places in
    these.
    """
    first = lowest_layer(jobs)
    # Layer 0 has an adapter, or the model is of a kind that cannot be run layer by layer here.
    if not first or not lm.known:
        return None, [list(of_job) for of_job in data]
    # By content: the passage is in every self-edit of a group and goes through once.
    places: dict[tuple[int, ...], int] = {}
    rows, total = [], 0
    for of_job in data:
        for material in of_job:
            if material.sequence.ids not in places:
                places[material.sequence.ids] = total
                rows.append(material)
                total += len(material.ids)
    placed = [[replace(m, first_row=places[m.sequence.ids]) for m in of_job] for of_job in data]
    return Lower(first, torch.cat([_states(lm, chunk, first) for chunk in _chunks(rows)])), placed


def lowest_layer(jobs: Sequence[AdaptJob]) -> int:
    """The lowest layer that has an adapter of any job, or a frozen one that a job stands on; 0 for
    all layers.
    """
    specs = [job.lora for job in jobs] + [job.start.spec for job in jobs if job.start is not None]
    # A job without a list of layers adapts all of them, from 0 on.
    return min(0 if spec.layers is None else min(spec.layers) for spec in specs)


def _chunks(rows: Sequence[Material]) -> list[list[Material]]:
    chunks: list[list[Material]] = [[]]
    tokens = 0
    for material in rows:
        # One row longer than a pass makes a pass of its own.
        if chunks[-1] and tokens + len(material.ids) > TOKENS:
            chunks.append([])
            tokens = 0
        chunks[-1].append(material)
        tokens += len(material.ids)
    return chunks


# Frozen, so no graph is kept: without this the outputs would hold all lower layers' activations.
@torch.no_grad()
def _states(lm: LanguageModel, rows: Sequence[Material], first: int) -> Tensor:
    lengths = np.array([len(material.ids) for material in rows])
    ids = as_tensor(np.concatenate([material.ids for material in rows]), lm.device)
    within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    plan = packed_attention(lengths, lm.device, lm.dtype)
    embedded = lm.embed(ids)
    return run_layers(lm.model, embedded, as_tensor(within, lm.device), plan, stop=first)
