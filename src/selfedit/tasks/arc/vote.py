"""From many answers to two attempts, and from attempts to right or wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from selfedit.tasks.arc.grids import AnswerFault, Grid, grid_key


@dataclass(frozen=True)
class Ballot:
    """The outcome of a vote on one test input.

    Attributes:
        attempts: the best different answers, most votes first; fewer than asked for where there are
            no more.
        votes: the votes of each attempt.
        faults: how many answers were no grid, by reason.
        answers: how many answers there were, faults included.
    """

    attempts: tuple[Grid, ...]
    votes: tuple[int, ...]
    faults: dict[AnswerFault, int]
    answers: int


def vote(answers: Iterable[Grid | AnswerFault], attempts: int = 2) -> Ballot:
    """Count equal answers; of those with equal votes the one given first comes first.

    Args:
        answers: the answers to one test input, mapped back. What is no grid has no vote.
        attempts: how many answers may be handed in: 2 in the paper. Take 1 where answers are a cell
            or two, because two guesses among few possible grids say little.
    """
    listed = list(answers)
    # Reversed, so that the first of equal answers is the one that stays.
    grids = {
        grid_key(answer): answer
        for answer in reversed(listed)
        if not isinstance(answer, AnswerFault)
    }
    votes = Counter(grid_key(answer) for answer in listed if not isinstance(answer, AnswerFault))
    best = votes.most_common(attempts)  # keeps the order of first occurrence among equals
    faults = Counter(answer for answer in listed if isinstance(answer, AnswerFault))
    return Ballot(
        tuple(grids[key] for key, _ in best),
        tuple(count for _, count in best),
        dict(faults),
        len(listed),
    )


def solved(attempts: Sequence[Sequence[Grid]], solutions: Sequence[Grid]) -> bool:
    """Whether, for every test input, one of its attempts equals its solution.

    Args:
        attempts: the attempts at each test input.
        solutions: the solution of each test input.

    Raises:
        ValueError: there are not as many test inputs as solutions.
    """
    if len(attempts) != len(solutions):
        raise ValueError(f"attempts at {len(attempts)} test inputs and {len(solutions)} solutions")
    return all(map(_is_among, solutions, attempts))


def _is_among(solution: Grid, attempts: Sequence[Grid]) -> bool:
    return any(np.array_equal(attempt, solution) for attempt in attempts)


def share_of_right_cells(attempt: Grid | AnswerFault | None, solution: Grid) -> float:
    """The share of the solution's cells an attempt has right; 0 where it is no grid or has another
    size.

    A graded score for where solved tasks are too rare to learn from. It is no substitute for
    :func:`solved` in a table, and is named wherever it is used.
    """
    # A grid of another size has no cells to compare.
    if attempt is None or isinstance(attempt, AnswerFault) or attempt.shape != solution.shape:
        return 0.0
    return float((attempt == solution).mean())
