"""The rules themselves: each draws its open choices and gives a change of grids with the grids that
show it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from selfedit.tasks.arc.grids import Grid

Change = Callable[[Grid], Grid]
Draw = Callable[[np.random.Generator, int], Grid]


@dataclass(frozen=True)
class Rule:
    """A rule with its choices made.

    Attributes:
        change: from input to output.
        draw: a random input with sides of at most so many cells.
    """

    change: Change
    draw: Draw


RULES: dict[str, Callable[[np.random.Generator], Rule]] = {}
"""Each rule by name: a function that makes its open choices."""


# ---- inputs: black is background, about half the cells are coloured unless said otherwise


def scattered(density: float = 0.5, palette: tuple[int, ...] = tuple(range(1, 10))) -> Draw:
    """Grids with cells of two or three colours here and there."""

    def draw(rng: np.random.Generator, side: int) -> Grid:
        rows, columns = rng.integers(2, side + 1, 2)
        colours = rng.choice(palette, min(len(palette), int(rng.integers(2, 4))), replace=False)
        cells = np.where(
            rng.random((rows, columns)) < density, rng.choice(colours, (rows, columns)), 0
        )
        # An empty grid shows no rule: one cell at least.
        if not cells.any():
            cells[rng.integers(rows), rng.integers(columns)] = colours[0]
        return cells.astype(np.int8)

    return draw


def boxed(rng: np.random.Generator, side: int) -> Grid:
    """A filled rectangle on black, at least 3 × 3, of one colour."""
    grid = np.zeros((side, side), np.int8)
    height, width = rng.integers(3, side + 1, 2)
    top, left = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
    grid[top : top + height, left : left + width] = rng.integers(1, 10)
    return grid


def halves(rng: np.random.Generator, side: int) -> Grid:
    """Two grids of one colour each, side by side with a grey column between them."""
    rows, columns = int(rng.integers(2, side + 1)), max(1, (side - 1) // 2)
    left, right = (rng.random((2, rows, columns)) < 0.5).astype(np.int8)
    return np.hstack([left, np.full((rows, 1), 5, np.int8), 2 * right])


def _even(draw: Draw) -> Draw:
    """The same grids without the last row or column where a side is odd."""

    def even(rng: np.random.Generator, side: int) -> Grid:
        grid = draw(rng, side)
        # Both sides even, so that the halves are alike.
        return grid[: grid.shape[0] // 2 * 2, : grid.shape[1] // 2 * 2]

    return even


def clear_winner(rng: np.random.Generator, side: int) -> Grid:
    """Grids in which one colour has more cells than any other."""
    while True:
        grid = scattered()(rng, side)
        # Sorted counts without black: the two largest must differ, or "commonest" is not one
        # colour.
        *_, second, first = np.sort(np.bincount(grid.ravel(), minlength=10)[1:])
        if first > second:
            return grid


# ---- rules without choices


def _without_choices(name: str, change: Change, draw: Draw | None = None) -> None:
    rule = Rule(change, draw or scattered())
    RULES[name] = lambda rng: rule


def fall(grid: Grid) -> Grid:
    """Coloured cells fall to the bottom of their column, keeping their order."""
    # a stable sort on "is coloured" moves black up and leaves the rest in order
    return np.take_along_axis(grid, np.argsort(grid != 0, axis=0, kind="stable"), axis=0)


def outline(grid: Grid) -> Grid:
    """Cells with a coloured cell on all four sides turn black."""
    # A border of black: cells at the edge have fewer than four coloured neighbours.
    padded = np.pad(grid, 1)
    inside = (
        (padded[:-2, 1:-1] > 0)
        & (padded[2:, 1:-1] > 0)
        & (padded[1:-1, :-2] > 0)
        & (padded[1:-1, 2:] > 0)
    )
    return np.where(inside, 0, grid)


def crop(grid: Grid) -> Grid:
    """The smallest rectangle that holds all coloured cells."""
    rows, columns = np.flatnonzero(grid.any(axis=1)), np.flatnonzero(grid.any(axis=0))
    return grid[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def commonest(grid: Grid) -> int:
    """The colour with the most cells; black does not count."""
    return int(np.bincount(grid.ravel(), minlength=10)[1:].argmax()) + 1


def bars(grid: Grid) -> Grid:
    """Columns of cells, sorted by height: the column with the fewest coloured cells comes first."""
    return grid[:, np.argsort((grid != 0).sum(axis=0), kind="stable")]


_without_choices("mirror", lambda grid: grid[:, ::-1])
_without_choices("upside_down", lambda grid: grid[::-1])
_without_choices("half_turn", lambda grid: grid[::-1, ::-1])
_without_choices("quarter_turn", lambda grid: np.rot90(grid, -1))
_without_choices("transpose", lambda grid: grid.T)
_without_choices("anti_transpose", lambda grid: grid[::-1, ::-1].T)
_without_choices("double", lambda grid: grid.repeat(2, 0).repeat(2, 1), scattered(0.6))
_without_choices("tile_right", lambda grid: np.hstack([grid, grid]))
_without_choices("tile_down", lambda grid: np.vstack([grid, grid]))
_without_choices("mirror_right", lambda grid: np.hstack([grid, grid[:, ::-1]]))
_without_choices("mirror_down", lambda grid: np.vstack([grid, grid[::-1]]))
_without_choices("top_half", lambda grid: grid[: grid.shape[0] // 2], _even(scattered(0.6)))
_without_choices("left_half", lambda grid: grid[:, : grid.shape[1] // 2], _even(scattered(0.6)))
_without_choices("crop", crop, boxed)
_without_choices("crop_scattered", crop, scattered(0.2))
_without_choices("outline", outline, boxed)
_without_choices("gravity", fall)
_without_choices("gravity_left", lambda grid: fall(grid[:, ::-1].T).T[:, ::-1])
_without_choices("sort_columns", bars)
_without_choices(
    "commonest_colour", lambda grid: np.full((1, 1), commonest(grid), np.int8), clear_winner
)
_without_choices("fill_commonest", lambda grid: np.full_like(grid, commonest(grid)), clear_winner)
_without_choices(
    "keep_commonest", lambda grid: np.where(grid == commonest(grid), grid, 0), clear_winner
)
_without_choices(
    "both_halves", lambda grid: _overlap(grid, lambda left, right: left & right), halves
)
_without_choices(
    "either_half", lambda grid: _overlap(grid, lambda left, right: left | right), halves
)
_without_choices(
    "one_half_only", lambda grid: _overlap(grid, lambda left, right: left ^ right), halves
)


def _overlap(grid: Grid, combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Grid:
    """Lay the two halves on each other; the result is green."""
    width = grid.shape[1] // 2
    return (3 * combine(grid[:, :width] > 0, grid[:, width + 1 :] > 0)).astype(np.int8)


# ---- rules that draw a choice


def _rule(make: Callable[[np.random.Generator], Rule]) -> Callable[[np.random.Generator], Rule]:
    RULES[make.__name__] = make
    return make


@_rule
def recolour(rng: np.random.Generator) -> Rule:
    """One colour becomes another."""
    old, new = rng.choice(np.arange(1, 10), 2, replace=False)
    return Rule(
        lambda grid: np.where(grid == old, new, grid),
        scattered(palette=(int(old), *_other_colours(old, new))),
    )


@_rule
def swap_colours(rng: np.random.Generator) -> Rule:
    """Two colours change places."""
    # As ints: numpy's scalars would end up in a palette of Python's.
    one, other = (int(colour) for colour in rng.choice(np.arange(1, 10), 2, replace=False))
    table = np.arange(10, dtype=np.int8)
    table[[one, other]] = other, one
    return Rule(lambda grid: table[grid], scattered(palette=(one, other)))


@_rule
def erase_colour(rng: np.random.Generator) -> Rule:
    """One colour becomes black."""
    erased = int(rng.integers(1, 10))
    return Rule(
        lambda grid: np.where(grid == erased, 0, grid),
        scattered(0.7, palette=(erased, *_other_colours(erased))),
    )


@_rule
def fill_background(rng: np.random.Generator) -> Rule:
    """Black becomes a colour."""
    fill = int(rng.integers(1, 10))
    return Rule(
        lambda grid: np.where(grid == 0, fill, grid), scattered(palette=_other_colours(fill))
    )


@_rule
def one_colour(rng: np.random.Generator) -> Rule:
    """Every coloured cell takes one colour."""
    paint = int(rng.integers(1, 10))
    return Rule(lambda grid: np.where(grid == 0, 0, paint), scattered())


@_rule
def count_cells(rng: np.random.Generator) -> Rule:
    """A row with as many cells as the input has coloured ones, in a colour of the rule."""
    paint = int(rng.integers(1, 10))
    return Rule(lambda grid: np.full((1, np.count_nonzero(grid)), paint, np.int8), _few)


@_rule
def border(rng: np.random.Generator) -> Rule:
    """The outermost cells take one colour."""
    paint = int(rng.integers(1, 10))
    return Rule(lambda grid: np.pad(grid[1:-1, 1:-1], 1, constant_values=paint), scattered())


@_rule
def frame(rng: np.random.Generator) -> Rule:
    """A frame of one colour is put around the grid."""
    paint = int(rng.integers(1, 10))
    return Rule(lambda grid: np.pad(grid, 1, constant_values=paint), scattered())


@_rule
def beams(rng: np.random.Generator) -> Rule:
    """Every cell of one colour fills its row with that colour."""
    paint = int(rng.integers(1, 10))

    def change(grid: Grid) -> Grid:
        return np.where((grid == paint).any(axis=1, keepdims=True), paint, grid)

    return Rule(change, scattered(0.3, palette=(paint, *_other_colours(paint))))


@_rule
def slide(rng: np.random.Generator) -> Rule:
    """Every row moves one or two cells, what leaves comes back on the other side."""
    step = int(rng.choice([-2, -1, 1, 2]))
    return Rule(lambda grid: np.roll(grid, step, axis=1), scattered())


def _few(rng: np.random.Generator, side: int) -> Grid:
    """One to five coloured cells on black."""
    grid = np.zeros((side, side), np.int8)
    places = rng.choice(side * side, int(rng.integers(1, 6)), replace=False)
    grid.ravel()[places] = rng.integers(1, 10, len(places))
    return grid


def _other_colours(*used: int) -> tuple[int, ...]:
    return tuple(colour for colour in range(1, 10) if colour not in used)
