"""How inner loops are put into groups that train together, and how many memory has room for.

``inner.group = "auto"`` chooses that number once for each phase of a run, at its first start, and
writes it into the
ledger: a resumed run makes the same groups however much memory is free then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch

from selfedit.inner.job import AdaptJob
from selfedit.lm.load import LanguageModel
from selfedit.lm.loss import chunk_bytes
from selfedit.lm.shape import Shape
from selfedit.rl.session import Session
from selfedit.run.ledger import Ledger

T = TypeVar("T")

LARGEST = 32
"""Adapters a group at the most: what many adapters share is spread over all of them by then, and a
larger group only loses more to a kill (`selfedit bench inner` shows the cost against K).
"""
GPU_TOKENS = 16384
"""Tokens of a step on a GPU at the most: its products are as fast as they get long before, and
memory is for more.
"""
TURNS = {"cuda": 2}
"""Inner loops a group for each row of its bank, by kind of device; 1 elsewhere. Rows that finish
early take what waits, so that a GPU's steps stay full; on a CPU steps of few adapters cost no more
a token."""
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, LARGEST, 48, 64, 96, 128, 192, 256)
"""What is chosen among: a little more or less free memory at the start of a run should not make
another number.
"""
SHARE, LEFT = 0.5, 0.9
"""What is given out: this share of the machine's memory, or of what is free of it if that is less.
The first does not change from one start to the next, so that equal runs on one machine make equal
groups unless memory is short.
"""


def choose_group(
    session: Session, name: str, jobs: Sequence[AdaptJob], ledger: Ledger | None = None
) -> int:
    """Inner loops a group at the most: ``inner.group``, or what memory has room for, chosen once
    for ``name`` and kept in the session's ledger, or in the one given.
    """
    # A number in the settings is the user's word, whatever memory there is.
    setting = session.settings.inner.group
    if setting != "auto":
        return setting
    step = f"group {name}"
    # Named by place: evaluation and training have jobs of different size.
    ledger = ledger or session.run.ledger
    stored = ledger.step(step)
    if stored is None:
        room = session.engine.room()
        bytes_given = min(SHARE * room.total, LEFT * room.free)
        stored = {"most": most_in_memory(session.lm, jobs, room.sharing, bytes_given)}
        ledger.finish_step(step, stored)
    return int(stored["most"])


def most_in_memory(lm: LanguageModel, jobs: Sequence[AdaptJob], workers: int, room: float) -> int:
    """The largest of `SIZES` whose adapters fit into ``room`` bytes, for every worker at the same
    time; at least 1.

    A worker needs the model's weights (its own copy, unless it is this process), one chunk of
    logits with its gradient, and for each adapter `bytes_per_adapter` of the largest job.
    """
    if not jobs:
        return LARGEST
    largest = largest_group(lm.device, jobs)
    each = max(bytes_per_adapter(lm, job) for job in jobs)
    fixed = 2 * chunk_bytes(lm.device)
    if workers > 1:
        # Worker processes have the weights once more, each for itself.
        fixed += sum(p.numel() * p.element_size() for p in lm.model.parameters())
    # The largest that fits for every worker at once.
    fitting = [size for size in SIZES if size <= largest and size * each <= room / workers - fixed]
    return max(fitting, default=1)


def largest_group(device: torch.device, jobs: Sequence[AdaptJob]) -> int:
    """Adapters a group from which on more make nothing cheaper: `LARGEST`; on a GPU those of
    `GPU_TOKENS` a step.
    """
    if device.type != "cuda":
        return LARGEST
    steps = sum(job.steps for job in jobs)
    tokens = sum(
        job.optim.epochs * len(s.ids)
        for job in jobs
        for s in job.sequences
        if not isinstance(s, str)
    )
    return max(LARGEST, int(GPU_TOKENS * steps / max(1, tokens)))


def turns(device: torch.device) -> int:
    """Inner loops a group for each row of its bank."""
    return TURNS.get(device.type, 1)


def bytes_per_adapter(lm: LanguageModel, job: AdaptJob) -> int:
    """Memory that one adapter adds to its group.

    Five times its parameters (values, gradients, two Adam states, the finished copy; a copy more
    for each further loop that its row takes), in float32 or wider, and what its longest batch
    keeps for the backward pass (`Shape.activations`).
    """
    shape, lora = Shape.of(lm.model.config), job.lora
    lengths = sorted((len(s.ids) for s in job.sequences if not isinstance(s, str)), reverse=True)
    # The longest sequences together: the largest batch that can come.
    tokens = sum(lengths[: job.optim.batch_size])
    width = lm.head.element_size()
    # Never below float32 in training, whatever the model computes in.
    states = (4 + turns(lm.device)) * max(4, width) * shape.adapter(lora.rank, lora.targets)
    return states + width * shape.activations(lora.rank, lora.targets) * tokens


def form_groups(ordered: Sequence[T], most: int, workers: int) -> list[list[T]]:
    """Groups of at most ``most`` loops of like length; as many for every worker, and of like work.

    Each stretch of the order is dealt out in turn, one loop to each worker's group, so that none
    waits for the longest.
    """
    size = group_size(len(ordered), most, workers)
    stretches = [
        ordered[start : start + size * workers] for start in range(0, len(ordered), size * workers)
    ]
    # One of each worker's group in turn: the order goes from long to short, so all get alike.
    dealt = [list(stretch[worker::workers]) for stretch in stretches for worker in range(workers)]
    return [group for group in dealt if group]


def group_size(loops: int, most: int, workers: int) -> int:
    """Loops a group: at most ``most``, and such that every worker gets as many groups as the
    others.
    """
    # Rounded up to whole turns of all workers, then shared out evenly.
    groups = workers * math.ceil(loops / (most * workers))
    return max(1, math.ceil(loops / max(1, groups)))
