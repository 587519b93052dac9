from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from arc_grids import grid, grids, pair, same
from hypothesis import given
from hypothesis import strategies as st

from selfedit.errors import UsageError
from selfedit.tasks.arc.augment import (
    Augmenter,
    colour_permutation,
    colours_of,
    random_roll,
    reorder,
    roll,
)
from selfedit.tasks.arc.task import ArcTask
from selfedit.tasks.arc.tools import TOOLBOX, Toolbox

TOOLS = {tool.name: tool for tool in TOOLBOX.augmenters(TOOLBOX.families, np.random.default_rng(0))}

# what each one makes of the grid 12/34/56, written out by hand
BY_HAND = {
    "rotate90": ["246", "135"],
    "rotate180": ["65", "43", "21"],
    "rotate270": ["531", "642"],
    "flip_rows": ["56", "34", "12"],
    "flip_columns": ["21", "43", "65"],
    "reflect_down": ["12", "34", "56", "56", "34", "12"],
    "reflect_up": ["56", "34", "12", "12", "34", "56"],
    "reflect_right": ["1221", "3443", "5665"],
    "reflect_left": ["2112", "4334", "6556"],
    "transpose": ["135", "246"],
    "double": ["1122", "1122", "3344", "3344", "5566", "5566"],
    "double_height": ["12", "12", "34", "34", "56", "56"],
    "double_width": ["1122", "3344", "5566"],
    "rotate90_double": ["224466", "224466", "113355", "113355"],
    "rotate180_double": ["6655", "6655", "4433", "4433", "2211", "2211"],
    "rotate270_double": ["553311", "553311", "664422", "664422"],
    "flip_rows_double": ["5566", "5566", "3344", "3344", "1122", "1122"],
    "flip_columns_double": ["2211", "2211", "4433", "4433", "6655", "6655"],
    "transpose_double": ["113355", "113355", "224466", "224466"],
    "repeat_down": ["12", "34", "56", "12", "34", "56"],
    "repeat_right": ["1212", "3434", "5656"],
    "repeat_both": ["1212", "3434", "5656", "1212", "3434", "5656"],
}


def test_there_are_23_in_four_families() -> None:
    assert {family: len(TOOLBOX.names(family)) for family in TOOLBOX.families} == {
        "basic": 11,
        "size": 3,
        "chain": 6,
        "repeat": 3,
    }
    assert set(TOOLS) == {*BY_HAND, "random_roll"}
    assert all(tool.name in TOOLBOX.names(tool.family) for tool in TOOLS.values())


@pytest.mark.parametrize("name", BY_HAND)
def test_each_does_what_its_name_says(name: str) -> None:
    assert same(TOOLS[name].forward(grid("12", "34", "56")), grid(*BY_HAND[name]))


def test_a_roll_moves_cells_around_the_edges() -> None:
    assert same(roll(1, 0).forward(grid("12", "34", "56")), grid("56", "12", "34"))
    assert same(roll(0, 3).forward(grid("12", "34", "56")), grid("21", "43", "65"))


def undone(tool: Augmenter, cells: Any) -> bool:
    assert tool.inverse is not None
    changed = tool.forward(cells)
    return same(tool.inverse(changed), cells) and changed.dtype == cells.dtype


GROWTH: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "reflect_down": lambda rows, columns: (2 * rows, columns),
    "reflect_up": lambda rows, columns: (2 * rows, columns),
    "reflect_right": lambda rows, columns: (rows, 2 * columns),
    "reflect_left": lambda rows, columns: (rows, 2 * columns),
    "double": lambda rows, columns: (2 * rows, 2 * columns),
    "double_height": lambda rows, columns: (2 * rows, columns),
    "double_width": lambda rows, columns: (rows, 2 * columns),
    "repeat_down": lambda rows, columns: (2 * rows, columns),
    "repeat_right": lambda rows, columns: (rows, 2 * columns),
    "repeat_both": lambda rows, columns: (2 * rows, 2 * columns),
}


def stated(name: str, cells: Any) -> bool:
    """Whether shape and colour counts are what the augmenter's kind promises."""
    rows, columns = cells.shape
    if name.startswith(("rotate90", "rotate270", "transpose")):
        rows, columns = columns, rows
    if name in GROWTH:
        rows, columns = GROWTH[name](rows, columns)
    elif name.endswith("_double"):
        rows, columns = 2 * rows, 2 * columns
    changed = TOOLS[name].forward(cells)
    before, after = (np.bincount(item.ravel(), minlength=10) for item in (cells, changed))
    return changed.shape == (rows, columns) and bool(
        (after * cells.size == before * changed.size).all()
    )


@given(grids)
def test_every_one_is_undone_on_any_grid(cells: Any) -> None:
    for name, tool in TOOLS.items():
        assert undone(tool, cells) and stated(name, cells), name


@pytest.mark.parametrize("name", TOOLS)
def test_every_one_is_undone_on_all_of_arc(name: str, arc1: dict[str, ArcTask]) -> None:
    for task in arc1.values():
        for shown in (*task.train, *task.test):
            for cells in (shown.input, shown.output):
                assert undone(TOOLS[name], cells) and stated(name, cells), task.id


@given(grids, st.integers(0, 2**32))
def test_recolouring_permutes_all_but_black(cells: Any, seed: int) -> None:
    tool = colour_permutation(np.random.default_rng(seed), moves=np.unique(cells).tolist())
    changed = tool.forward(cells)
    assert undone(tool, cells) and same(changed == 0, cells == 0)
    assert len(np.unique(changed)) == len(np.unique(cells))
    assert same(changed, cells) == (
        not cells.any()
    )  # it moves something wherever there is something to move
    assert sorted(tool.forward(np.arange(10, dtype=np.int8)[None])[0]) == list(range(10))


def test_recolouring_on_all_of_arc(arc1: dict[str, ArcTask]) -> None:
    rng = np.random.default_rng(0)
    for task in arc1.values():
        tool = colour_permutation(rng, moves=colours_of(task.train))
        assert all(undone(tool, shown.input) and undone(tool, shown.output) for shown in task.train)


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 30))
def test_a_random_roll_moves_the_grids_it_is_drawn_for(seed: int, rows: int, columns: int) -> None:
    cells = np.arange(rows * columns).reshape(rows, columns)
    shown = pair("1").map(lambda _: cells)
    rolled = random_roll(np.random.default_rng(seed), [shown]).forward(cells)
    assert same(rolled, cells) == (cells.size == 1)
    again = random_roll(np.random.default_rng(seed), [shown]).forward(cells)
    assert same(rolled, again)


def test_orders_keep_every_item() -> None:
    orders = {reorder("abc", np.random.default_rng(seed)) for seed in range(60)}
    assert len(orders) == 6 and all(sorted(order) == ["a", "b", "c"] for order in orders)


def test_a_users_tool_joins_an_old_or_a_new_family() -> None:
    box = Toolbox.builtin()

    @box.tool("black_out", family="basic")
    def black_out(cells: Any) -> Any:
        cells[:] = 0  # its own copy
        return cells

    box.tool("swap_sides", family="mine", inverse=np.fliplr)(np.fliplr)
    assert box.families == ("basic", "size", "chain", "repeat", "mine")
    cells = grid("12")
    first, second = (
        next(
            tool
            for tool in box.augmenters(box.families, np.random.default_rng(0))
            if tool.name == name
        )
        for name in ("black_out", "swap_sides")
    )
    assert (
        same(first.forward(cells), grid("00")) and same(cells, grid("12")) and first.inverse is None
    )
    assert undone(second, cells)
    assert "mine" not in TOOLBOX.families


@pytest.mark.parametrize(
    "given", [None, [[1]], np.zeros((1, 1)), np.full((1, 1), 10), np.zeros((0, 3), int)]
)
def test_a_users_tool_that_gives_no_grid_is_named(given: Any) -> None:
    box = Toolbox()
    box.tool("broken", family="mine")(lambda cells: given)
    (tool,) = box.augmenters(["mine"], np.random.default_rng(0))
    with pytest.raises(UsageError, match="'broken'"):
        tool.forward(grid("1"))


def test_names_of_tools_and_families_are_checked() -> None:
    box = Toolbox.builtin()
    for name, family, said in (
        ("double", "mine", "a tool of this name"),
        ("new", "my tools", "cannot name a family"),
        ("new", "", "cannot name a family"),
        ("new", "9lives", "cannot name a family"),
    ):
        with pytest.raises(UsageError, match=said):
            box.tool(name, family=family)(np.fliplr)
    assert box.families == TOOLBOX.families
    with pytest.raises(UsageError, match="no family 'mine'"):
        box.augmenters(["basic", "mine"], np.random.default_rng(0))
