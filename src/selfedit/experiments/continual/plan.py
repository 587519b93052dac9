"""Which passages each sequence of continual edits goes through, and in which order."""

from __future__ import annotations

import random
from collections.abc import Sequence

from selfedit.errors import DataError
from selfedit.run.seeds import derive
from selfedit.tasks.task import Context


def plan_sequences(
    contexts: Sequence[Context], sequences: int, steps: int, seed: int
) -> list[list[Context]]:
    """``sequences`` × ``steps`` passages: none twice in one sequence, each as often as the others
    in all.

    Passages are dealt from one shuffled pack after another. With fewer than sequences × steps
    passages, sequences share
    some, in other orders and company: their results are then less independent than their standard
    error takes them to be.

    Raises:
        DataError: fewer passages than one sequence needs.
    """
    if len(contexts) < steps:
        what = f"a sequence has {steps} steps, there are {len(contexts)} passages"
        raise DataError(
            what, where="continual.steps", fix="give more passages or lower continual.steps"
        )
    pack: list[Context] = []
    shuffles = 0
    plan = []
    for _ in range(sequences):
        chosen: list[Context] = []
        while len(chosen) < steps:
            fitting = [context for context in pack if context not in chosen]
            if not fitting:
                fresh = list(contexts)
                random.Random(derive(seed, "sequences", shuffles)).shuffle(fresh)
                shuffles += 1
                pack += fresh
                continue
            chosen.append(fitting[0])
            pack.remove(fitting[0])
        plan.append(chosen)
    return plan
