"""Replay: earlier training sequences mixed into a new edit's, from a reservoir of bounded size.

Rehearsal (Robins 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal"); for language
models that learn one task after the other Scialom et al. 2022 (arXiv 2205.12393) find that a small
share is enough. The reservoir is Vitter's algorithm R (1985, ACM TOMS 11): whatever has come by so
far is in it with the same chance.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TypeVar

from selfedit.inner.job import TrainSequence
from selfedit.retention.remedies.base import EditBatch, NewEdit, Remedy
from selfedit.run.seeds import derive

T = TypeVar("T")


def reservoir(items: Sequence[T], size: int, seed: int) -> list[T]:
    """At most ``size`` of the items, each with the same chance.

    Depends on the items' order and the seed alone: a longer sequence that begins alike fills the
    same way up to there.
    """
    chance = random.Random(seed)
    sample = list(items[:size])
    for index in range(size, len(items)):
        slot = chance.randrange(index + 1)
        if slot < size:
            sample[slot] = items[index]
    return sample


def sample_items(items: Sequence[T], count: int, seed: int) -> list[T]:
    """``count`` of the items without repetition, or all of them if there are fewer."""
    return random.Random(seed).sample(list(items), min(count, len(items)))


def rehearsable(edit: NewEdit, size: int) -> list[TrainSequence]:
    """What the reservoir holds of the earlier edits' sequences when this edit is made."""
    return reservoir(edit.learner.earlier(), size, derive(edit.seed, "reservoir"))


class Replay(Remedy):
    """Earlier sequences with their loss, ``retention.replay.share`` of them for each new one."""

    turn = 10

    def change(self, batch: EditBatch) -> None:
        """See `Remedy`."""
        settings = self.settings.replay
        for number, edit in enumerate(batch.edits):
            count = math.ceil(settings.share * len(batch.new[number]))
            batch.mixed[number] += sample_items(
                rehearsable(edit, settings.size), count, derive(edit.seed, "replay")
            )


REMEDY = Replay
