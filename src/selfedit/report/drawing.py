"""What every picture shares: its file, its twin for a dark page, its standard size, its bins."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")  # files only: no window, no display needed

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

INK, NIGHT = "#e4e6eb", "#16181d"
"""Lines and letters on a dark page, and its ground."""
SIZE = (7.0, 4.5)
"""Inches: as wide as a page shows it, so that letters keep their size."""
_MOST_BINS = 40
"""Of values that are few, each in a bin of its own."""


def one_axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """A figure of one set of axes, with what it says and what stands on each axis."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize="medium", loc="left")
    axes.set(xlabel=x, ylabel=y)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def from_zero(axes: Axes) -> None:
    """Percent begin at 0, with room below for the points that lie there."""
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -4), max(high, 10))


def save(figure: Figure, path: Path) -> Path:
    """Write a picture and its twin for dark pages (`night_name`), the folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # A script without a font here is drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph")
        about = {"dpi": 120, "metadata": {"Software": None}}
        figure.savefig(path, **about)
        # The same figure once more: drawn twice, two pictures could come to differ.
        _turn_dark(figure)
        figure.savefig(night_name(path), facecolor=NIGHT, **about)
    return path


def night_name(path: Path) -> Path:
    """Where the twin of a picture for dark pages is."""
    return path.with_name(f"{path.stem}-dark{path.suffix}")


def _turn_dark(figure: Figure) -> None:
    """Everything black light, every ground dark; colours stay."""
    for part in figure.findobj():
        if isinstance(part, Axes):
            part.set_facecolor(NIGHT)
            part.tick_params(colors=INK, which="both")
            for spine in part.spines.values():
                spine.set_edgecolor(INK)
            if (legend := part.get_legend()) is not None:
                legend.get_frame().set_facecolor(NIGHT)
                legend.get_frame().set_edgecolor(INK)
    for part in figure.findobj(_is_black):
        part.set_color(INK)  # pyright: ignore[reportAttributeAccessIssue]


def _is_black(part: Any) -> bool:
    """Letters and lines in black; a heat map's own letters stand on its colours and stay."""
    if not hasattr(part, "get_color") or not hasattr(part, "set_color"):
        return False
    axes = part.axes if isinstance(part, Text) else None
    if axes is not None and axes.images and part in axes.texts:
        return False
    colour = part.get_color()
    return isinstance(colour, str | tuple) and to_rgb(colour) == (0.0, 0.0, 0.0)


def bin_edges(values: Sequence[float]) -> np.ndarray:
    """The edges of bins that part the values there are."""
    distinct = np.unique(values)
    if len(distinct) == 1:
        return np.array([distinct[0] - 2.5, distinct[0] + 2.5])
    # Accuracies of a few questions take few values, not all as far from each other: bins as wide as
    # the smallest gap have each of them near a middle. Twenty where that would be too many.
    count = round((distinct[-1] - distinct[0]) / np.diff(distinct).min()) + 1
    bins = int(count) if count <= _MOST_BINS else 20
    half = (distinct[-1] - distinct[0]) / (bins - 1) / 2
    # The outermost values stand in the middle of their bins, as all others.
    return np.linspace(distinct[0] - half, distinct[-1] + half, bins + 1)
