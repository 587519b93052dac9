"""Asking one question many ways: leave-one-out prompts, in several orders, seen from several sides.

Every answer is mapped back to the side the task was given from, so that all answers to a test input
can be counted against each other (`vote.py`).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selfedit.tasks.arc.augment import (
    FLIP_COLUMNS,
    FLIP_ROWS,
    ROTATE90,
    ROTATE180,
    TRANSPOSE,
    Augmenter,
)
from selfedit.tasks.arc.grids import AnswerFault, Grid
from selfedit.tasks.arc.task import ArcTask, Pair

IDENTITY = Augmenter("identity", "view", lambda grid: grid, lambda grid: grid)
VIEWS = (IDENTITY, TRANSPOSE, FLIP_ROWS, FLIP_COLUMNS, ROTATE90, ROTATE180)
"""The task as it is, and the five other sides it is seen from."""


@dataclass(frozen=True)
class ViewedPrompt:
    """One prompt, everything in it seen from one side.

    Attributes:
        test_index: the test input it asks for.
        view: the side.
        demonstrations: the pairs shown.
        query: the test input.
    """

    test_index: int
    view: Augmenter
    demonstrations: tuple[Pair, ...]
    query: Grid

    def map_back(self, answer: Grid | AnswerFault) -> Grid | AnswerFault:
        """The answer as it would be for the task as given; a fault stays what it is."""
        if isinstance(answer, AnswerFault):
            return answer
        assert self.view.inverse is not None  # checked where the prompt was made
        return self.view.inverse(answer)


def viewed_prompts(
    task: ArcTask,
    seed: int,
    *,
    views: Sequence[Augmenter] = VIEWS,
    orders: int = 2,
    per_view: int | None = None,
) -> list[ViewedPrompt]:
    """All prompts for all test inputs of a task, the same for the same arguments; solutions are not
    used.

    For n > 1 demonstrations there are n leave-one-out choices of them, each in up to ``orders``
    different orders (a single one has only one), each from every view. A task of one demonstration
    shows it in every prompt.

    Args:
        task: the task.
        seed: with the task's id, the source of orders and draws.
        views: invertible changes that keep sizes within 30 × 30.
        orders: different orders of each choice of demonstrations.
        per_view: show only so many choices, drawn at random, from each view but the first; None
            shows all of them.

    Raises:
        ValueError: a view has no inverse.
    """
    if any(view.inverse is None for view in views):
        raise ValueError("a view without an inverse cannot be mapped back")
    rng = np.random.default_rng([seed, zlib.crc32(task.id.encode())])
    viewed = []
    for index, query in enumerate(task.inputs):
        demonstrations = [
            pairs for kept in _leave_one_out(task.train) for pairs in _orders(kept, orders, rng)
        ]
        for number, view in enumerate(views):
            # The first view shows all choices, so that the task as given is always asked.
            few = number > 0 and per_view is not None and per_view < len(demonstrations)
            picked = (
                rng.choice(len(demonstrations), per_view, replace=False)
                if few
                else range(len(demonstrations))
            )
            viewed += [
                _viewed(index, view, demonstrations[int(choice)], query) for choice in picked
            ]
    return viewed


def _viewed(index: int, view: Augmenter, pairs: Sequence[Pair], query: Grid) -> ViewedPrompt:
    return ViewedPrompt(
        index, view, tuple(pair.map(view.forward) for pair in pairs), view.forward(query)
    )


def _leave_one_out(pairs: tuple[Pair, ...]) -> list[tuple[Pair, ...]]:
    if len(pairs) == 1:
        return [pairs]
    return [pairs[:index] + pairs[index + 1 :] for index in range(len(pairs))]


def _orders(
    pairs: tuple[Pair, ...], count: int, rng: np.random.Generator
) -> list[tuple[Pair, ...]]:
    """Up to ``count`` different random orders; the same prompt twice would be the same greedy
    answer twice.
    """
    # n! orders of n demonstrations: with one there is one.
    possible = 1
    for size in range(2, len(pairs) + 1):
        possible *= size
    orders: dict[tuple[int, ...], tuple[Pair, ...]] = {}
    while len(orders) < min(count, possible):
        order = rng.permutation(len(pairs)).tolist()
        orders.setdefault(tuple(order), tuple(pairs[index] for index in order))
    return list(orders.values())
