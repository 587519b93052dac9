"""A run's pictures from its results: accuracy by round, its self-edits by round, what continual
edits kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from selfedit.report.drawing import one_axes, save
from selfedit.storage.neutral import in_picture

Row = Mapping[str, Any]
_PANELS = {
    "tokens": "tokens",
    "facts": "lines and pairs trained on",
    "single_fact": "share of lines with one fact",
    "diversity": "lexical diversity (MATTR)",
    "compression": "compression ratio",
}


def draw_pictures(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the pictures there is something to show in.

    Args:
        results: what `run_knowledge` returns, or at least its ``rows`` and ``self_edits``.
        folder: made if it is not there.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    if by_round := _by_round(results.get("rows", [])):
        written.append(
            save(accuracy_figure(by_round, results["rows"]), folder / "accuracy-by-round.png")
        )
    if results.get("self_edits"):
        written.append(save(shapes(results["self_edits"]), folder / "self-edits-by-round.png"))
    if results.get("matrix"):
        written.append(save(matrices(results), folder / "matrix.png"))
    return written


def _percent(share: float | None) -> float:
    """A share for an axis; one that is not known leaves a gap."""
    return math.nan if share is None else 100 * share


def matrices(results: Mapping[str, Any]) -> Figure:
    """Accuracy on each passage by number of edits, as a heat map for each way, and the published
    one beside them.
    """
    panels = {name: way["matrix"] for name, way in results["ways"].items()}
    panels["published (SEAL, Qwen2.5-7B)"] = results["published"]["matrix"]
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(4.2 * columns, 3.8 * lines), layout="constrained")
    highest = max(value for matrix in panels.values() for row in matrix for value in row) or 1.0
    for position, (name, matrix) in enumerate(panels.items(), start=1):
        _heat(figure.add_subplot(lines, columns, position), name, matrix, highest)
    return figure


def _heat(axes: Any, name: str, matrix: Sequence[Sequence[float]], highest: float) -> None:
    width = max(map(len, matrix))
    axes.imshow(
        [[*row, *[math.nan] * (width - len(row))] for row in matrix],
        vmin=0,
        vmax=highest,
        cmap="viridis",
    )
    for r, row in enumerate(matrix):
        for c, value in enumerate(row):
            colour = "white" if value < 0.6 * highest else "black"
            axes.text(
                c, r, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=8
            )
    axes.set(title=in_picture(name), xlabel="passage", ylabel="edits so far")
    axes.set_xticks(range(width), [str(c + 1) for c in range(width)])
    axes.set_yticks(range(len(matrix)))


def accuracy_figure(by_round: Mapping[str, Sequence[Row]], rows: Sequence[Row]) -> Figure:
    """Accuracy on held-out passages by round, with standard errors; rows that know no round are
    lines across.
    """
    n = max((row["n"] for row in rows), default=0)
    figure, axes = one_axes(
        f"Held-out accuracy by round (n = {n} passages; bars: standard errors)",
        "round of ReST-EM",
        "accuracy, %",
    )
    for name, rounds in by_round.items():
        errors = [100 * (row["se"] or 0.0) for row in rounds]
        heights = [_percent(row["accuracy"]) for row in rounds]
        axes.errorbar(
            range(len(rounds)), heights, errors, marker="o", capsize=3, label=in_picture(name)
        )
    for number, row in enumerate(row for row in rows if not _round_of(row)):
        style = ("--", ":", "-.")[number % 3]
        name = in_picture(row["method"])
        axes.axhline(
            _percent(row["accuracy"]), linestyle=style, color=f"C{9 - number % 5}", label=name
        )
    most = max(len(rounds) for rounds in by_round.values())
    axes.set_xticks(range(most), ["before RL", *[str(number) for number in range(1, most)]])
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
    return figure


def _by_round(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows before RL and after each round, in order, by format where there are several; only where
    RL was done.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if name := _round_of(row):
            groups.setdefault(name, []).append(row)
    return {
        name: rounds
        for name, rounds in groups.items()
        if len(rounds) > 1 and rounds[0]["method"].startswith("own")
    }


def _round_of(row: Row) -> str:
    """The curve a row is on; "" where it is on none."""
    method, _, format = row["method"].partition(":")
    return (format or "self-edits") if method == "own" or method.startswith("seal") else ""


def shapes(self_edits: Sequence[Mapping[str, Any]]) -> Figure:
    """Each policy's self-edits: length, lines, lines with one fact, lexical diversity, compression,
    as means.
    """
    measured = {key for shape in self_edits for key, value in shape.items() if value is not None}
    panels = [(key, name) for key, name in _PANELS.items() if key in measured]
    figure = Figure(figsize=(4 * len(panels), 4.5), layout="constrained")
    names = [in_picture(s["policy"]) for s in self_edits]
    for position, (key, name) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), position)
        axes.bar(range(len(names)), [s.get(key) or 0.0 for s in self_edits])
        axes.set_title(name, fontsize="medium")
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize="small")
    return figure
