"""Hypothesis strategies and shorthands for grids."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from selfedit.tasks.arc.grids import Grid
from selfedit.tasks.arc.task import Pair

sides = st.integers(1, 30)
grids: st.SearchStrategy[Grid] = st.tuples(sides, sides).flatmap(
    lambda shape: arrays(np.int8, shape, elements=st.integers(0, 9))
)


def grid(*rows: str) -> Grid:
    """``grid("01", "23")`` is the grid with those two rows."""
    return np.array([[int(cell) for cell in row] for row in rows], dtype=np.int8)


def pair(*rows: str) -> Pair:
    """A pair of a grid and its mirror image."""
    return Pair(grid(*rows), grid(*(row[::-1] for row in rows)))


def same(one: object, other: object) -> bool:
    return (
        isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and np.array_equal(one, other)
    )
