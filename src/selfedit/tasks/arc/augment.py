"""The 23 augmenters in four families, and the two permutations applied after them.

The families and their members are those of the published few-shot recipe (arXiv 2506.10943, section
4.1, after arXiv 2411.07279): basic (11), size (3), chain (6), repeat (3). Each is given with a left
inverse, so ``inverse(forward(grid)) == grid`` for every grid. Augmenters may make a grid larger
than 30 × 30: whoever applies one asks :func:`~selfedit.tasks.arc.grids.fits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from selfedit.tasks.arc.grids import COLOURS, MAX_SIDE, Grid
from selfedit.tasks.arc.task import Pair

Change = Callable[[Grid], Grid]
T = TypeVar("T")


@dataclass(frozen=True)
class Augmenter:
    """A change of grids that keeps a task a task when it is applied to every grid of it.

    Attributes:
        name: unique among the augmenters in use.
        family: the group a self-edit switches on or off.
        forward: the change.
        inverse: undoes it, or None where it cannot be undone.
    """

    name: str
    family: str
    forward: Change
    inverse: Change | None = None

    def then(self, other: Augmenter, *, name: str, family: str) -> Augmenter:
        """This change followed by another."""
        # The inverse of f then g is g's inverse, then f's.
        undo, undo_other = self.inverse, other.inverse
        inverse = (
            None if undo is None or undo_other is None else lambda grid: undo(undo_other(grid))
        )
        return Augmenter(name, family, lambda grid: other.forward(self.forward(grid)), inverse)


def _turn(quarters: int) -> Augmenter:
    """Turn counter-clockwise, as :func:`numpy.rot90` does."""
    degrees = 90 * quarters
    return Augmenter(
        f"rotate{degrees}",
        "basic",
        lambda grid: np.rot90(grid, quarters),
        lambda grid: np.rot90(grid, -quarters),
    )


def _flip(axis: int, name: str) -> Augmenter:
    return Augmenter(
        name, "basic", lambda grid: np.flip(grid, axis), lambda grid: np.flip(grid, axis)
    )


def _reflect(axis: int, *, original_first: bool, name: str) -> Augmenter:
    """Put a grid and its mirror image side by side: one side doubles."""

    def forward(grid: Grid) -> Grid:
        both = (grid, np.flip(grid, axis))
        return np.concatenate(both if original_first else both[::-1], axis)

    return Augmenter(
        # The half that holds the original; the other is its mirror image.
        name,
        "basic",
        forward,
        lambda grid: np.split(grid, 2, axis)[0 if original_first else 1],
    )


def _enlarge(rows: int, columns: int, name: str) -> Augmenter:
    """Repeat every cell."""
    return Augmenter(
        name,
        "size",
        lambda grid: grid.repeat(rows, 0).repeat(columns, 1),
        lambda grid: grid[::rows, ::columns],
    )


def _tile(rows: int, columns: int, name: str) -> Augmenter:
    """Repeat the whole grid."""
    return Augmenter(
        name,
        "repeat",
        lambda grid: np.tile(grid, (rows, columns)),
        lambda grid: grid[: grid.shape[0] // rows, : grid.shape[1] // columns],
    )


def roll(rows: int, columns: int) -> Augmenter:
    """Move every cell down and to the right; what leaves on one side comes back on the other."""
    return Augmenter(
        "random_roll",
        "basic",
        lambda grid: np.roll(grid, (rows, columns), (0, 1)),
        lambda grid: np.roll(grid, (-rows, -columns), (0, 1)),
    )


def random_roll(rng: np.random.Generator, pairs: Iterable[Pair] = ()) -> Augmenter:
    """A roll by 0–29 cells in each direction; one shift serves every grid of a task.

    Args:
        rng: where the shift comes from.
        pairs: grids of which at least one must move: a shift by whole sides leaves a grid as it
            was. Where all of them are single cells there is nothing to ask for.
    """
    # Single cells cannot move: asking for a shift that moves one would never end.
    shapes = {grid.shape for pair in pairs for grid in (pair.input, pair.output)} - {(1, 1)}
    while True:
        rows, columns = rng.integers(0, MAX_SIDE, 2).tolist()
        # A shift by a whole side is none; some grid has to move.
        if not shapes or any(rows % height or columns % width for height, width in shapes):
            return roll(rows, columns)


ROTATE90, ROTATE180, ROTATE270 = _turn(1), _turn(2), _turn(3)
FLIP_ROWS = _flip(0, "flip_rows")
"""Top becomes bottom."""
FLIP_COLUMNS = _flip(1, "flip_columns")
"""Left becomes right."""
TRANSPOSE = Augmenter("transpose", "basic", np.transpose, np.transpose)
DOUBLE = _enlarge(2, 2, "double")

BASIC = (
    ROTATE90,
    ROTATE180,
    ROTATE270,
    FLIP_ROWS,
    FLIP_COLUMNS,
    _reflect(0, original_first=True, name="reflect_down"),
    _reflect(0, original_first=False, name="reflect_up"),
    _reflect(1, original_first=True, name="reflect_right"),
    _reflect(1, original_first=False, name="reflect_left"),
    TRANSPOSE,
)
"""The basic family without its random roll, which needs a seed."""
SIZE = (DOUBLE, _enlarge(2, 1, "double_height"), _enlarge(1, 2, "double_width"))
CHAIN = tuple(
    first.then(DOUBLE, name=f"{first.name}_double", family="chain")
    for first in (ROTATE90, ROTATE180, ROTATE270, FLIP_ROWS, FLIP_COLUMNS, TRANSPOSE)
)
REPEAT = (_tile(2, 1, "repeat_down"), _tile(1, 2, "repeat_right"), _tile(2, 2, "repeat_both"))


def colour_permutation(rng: np.random.Generator, *, moves: Iterable[int] = ()) -> Augmenter:
    """A permutation of the colours 1–9; 0, the background, stays.

    Args:
        rng: where the permutation comes from.
        moves: colours of which at least one must change, so that a recoloured copy is no copy.
            Where they hold no colour but 0 there is nothing to ask for.
    """
    colours = [colour for colour in set(moves) if colour]
    # int8, as grids are: indexing with a grid gives a grid.
    mapping = np.arange(COLOURS, dtype=np.int8)
    while True:
        mapping[1:] = rng.permutation(np.arange(1, COLOURS))
        if not colours or any(mapping[colour] != colour for colour in colours):
            break
    back = np.argsort(mapping).astype(np.int8)
    return Augmenter("recolour", "recolour", lambda grid: mapping[grid], lambda grid: back[grid])


def reorder(items: Sequence[T], rng: np.random.Generator) -> tuple[T, ...]:
    """The same items in a random order."""
    return tuple(items[index] for index in rng.permutation(len(items)))


def colours_of(pairs: Iterable[Pair]) -> set[int]:
    """The colours that occur in pairs."""
    return {
        int(colour)
        for pair in pairs
        for grid in (pair.input, pair.output)
        for colour in np.unique(grid)
    }
