"""Grids for people: coloured cells in a terminal, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selfedit.errors import UsageError
from selfedit.storage.neutral import in_line, in_picture
from selfedit.tasks.arc.grids import Grid
from selfedit.tasks.arc.task import ArcTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table
    from rich.text import Text

PALETTE = (
    "#111111",
    "#1e78c8",
    "#e0443e",
    "#3fa84a",
    "#f2c919",
    "#9a9a9a",
    "#d430b0",
    "#f08a24",
    "#7cc8ee",
    "#7d1f33",
)
"""The colour of each cell value 0–9."""


def grid_text(grid: Grid) -> Text:
    """A grid as coloured terminal cells, two columns a cell; digits stay readable where there is no
    colour.
    """
    from rich.text import Text

    text = Text()
    for n, row in enumerate(grid.tolist()):
        text.append("\n" if n else "")
        for colour in row:
            # Dark ink on the light colours of the palette.
            ink = "black" if colour in (4, 5, 7, 8) else "white"
            text.append(f"{colour} ", style=f"{ink} on {PALETTE[colour]}")
    return text


def task_table(task: ArcTask, attempts: Sequence[Grid] = ()) -> Table:
    """A table of a task's pairs, its test inputs, and attempts at the first of them."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(in_line(task.id)), show_lines=True)
    for column in ("", "input", "output"):
        table.add_column(column, no_wrap=True)
    for n, pair in enumerate(task.train, 1):
        table.add_row(f"demonstration {n}", grid_text(pair.input), grid_text(pair.output))
    for n, grid in enumerate(task.inputs):
        table.add_row(
            f"test {n + 1}",
            grid_text(grid),
            grid_text(task.solutions[n]) if task.solutions else "?",
        )
    for n, grid in enumerate(attempts, 1):
        table.add_row(f"attempt {n}", "", grid_text(grid))
    return table


def task_figure(task: ArcTask, attempts: Sequence[Grid] = ()) -> Figure:
    """A picture of a task: inputs above outputs, one column a pair, attempts last."""
    from matplotlib.figure import Figure  # the object itself: no global state, nothing to close

    columns: list[tuple[str, Grid | None, Grid | None]] = [
        (f"demonstration {n}", pair.input, pair.output) for n, pair in enumerate(task.train, 1)
    ]
    columns += [
        (f"test {n + 1}", grid, task.solutions[n] if task.solutions else None)
        for n, grid in enumerate(task.inputs)
    ]
    columns += [(f"attempt {n}", None, grid) for n, grid in enumerate(attempts, 1)]
    figure = Figure(figsize=(2.2 * len(columns), 4.8), layout="constrained")
    axes = figure.subplots(2, len(columns), squeeze=False)  # [2, columns]
    for column, (title, above, below) in enumerate(columns):
        axes[0, column].set_title(title, fontsize=9)
        _draw(axes[0, column], above)
        _draw(axes[1, column], below)
    figure.suptitle(in_picture(task.id))
    return figure


def save_picture(task: ArcTask, path: Path, attempts: Sequence[Grid] = ()) -> Path:
    """Write a task's picture; the file's ending says the kind (png, svg, pdf). Returns the path.

    Raises:
        UsageError: pictures of that kind are not written, or no file can have that name.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        task_figure(task, attempts).savefig(path, dpi=120)
    except ValueError as error:
        what = f"the picture cannot be written: {error}"
        raise UsageError(
            what, where=in_line(path, 200), fix="end its name in .png, .svg or .pdf"
        ) from error
    return path


def picture_array(grid: Grid) -> np.ndarray:
    """A grid's cells as red, green and blue bytes, ``[rows, columns, 3]``."""
    palette = np.array([list(bytes.fromhex(code[1:])) for code in PALETTE], dtype=np.uint8)
    return palette[grid]


def _draw(axes: object, grid: Grid | None) -> None:
    """One grid with its cell lines, or an empty place."""
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    if grid is None:
        axes.set_axis_off()
        return
    rows, columns = grid.shape
    axes.imshow(picture_array(grid))
    # Lines between the cells: cells are centred on whole numbers.
    axes.set_xticks(np.arange(columns + 1) - 0.5, [])
    axes.set_yticks(np.arange(rows + 1) - 0.5, [])
    axes.grid(color="#555555", linewidth=0.5)
    axes.tick_params(length=0)
