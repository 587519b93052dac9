"""A run's pictures: reward by round, and what its self-edits look like by round, what continual edits kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only: no window, no display needed

from matplotlib.figure import Figure


def draw(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the pictures there is something to show in.

    Args:
        results: what `run_knowledge` returns, or at least its ``rounds`` and ``self_edits``.
        folder: made if it is not there.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    if results.get("rounds"):
        written.append(_save(rewards(results["rounds"]), folder / "reward-by-round.png"))
    if results.get("self_edits"):
        written.append(_save(shapes(results["self_edits"]), folder / "self-edits-by-round.png"))
    if results.get("matrix"):
        written.append(_save(matrices(results), folder / "matrix.png"))
    return written


def matrices(results: Mapping[str, Any]) -> Figure:
    """Accuracy on each passage by number of edits, as a heat map for each way, and the published one beside them."""
    shown = {name: way["matrix"] for name, way in results["ways"].items()}
    shown["published (SEAL, Qwen2.5-7B)"] = results["published"]["matrix"]
    columns = min(3, len(shown))
    lines = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(4.2 * columns, 3.8 * lines), layout="constrained")
    highest = max(value for matrix in shown.values() for row in matrix for value in row) or 1.0
    for place, (name, matrix) in enumerate(shown.items(), start=1):
        _heat(figure.add_subplot(lines, columns, place), name, matrix, highest)
    return figure


def _heat(axes: Any, name: str, matrix: Sequence[Sequence[float]], highest: float) -> None:
    width = max(map(len, matrix))
    axes.imshow([[*row, *[math.nan] * (width - len(row))] for row in matrix], vmin=0, vmax=highest, cmap="viridis")
    for r, row in enumerate(matrix):
        for c, value in enumerate(row):
            colour = "white" if value < 0.6 * highest else "black"
            axes.text(c, r, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set(title=name, xlabel="passage", ylabel="edits so far")
    axes.set_xticks(range(width), [str(c + 1) for c in range(width)])
    axes.set_yticks(range(len(matrix)))


def rewards(rounds: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracy of the policy unadapted, of all its self-edits, and of the best for each context, by round."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    numbers = [r["round"] for r in rounds]
    names = {"baseline": "unadapted", "accuracy": "all self-edits", "best": "best self-edit of each context"}
    for key, name in names.items():
        axes.plot(numbers, [100 * r[key] for r in rounds], marker="o", label=name)
    axes.set(xlabel="round of ReST-EM", ylabel="accuracy, or graded reward, %", title="Reward by round")
    axes.set_xticks(numbers)
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def shapes(self_edits: Sequence[Mapping[str, Any]]) -> Figure:
    """Mean length in tokens and mean number of facts of each policy's self-edits."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    names = [str(s["policy"]) for s in self_edits]
    for place, (key, name) in enumerate({"tokens": "tokens", "facts": "facts (lines and pairs kept)"}.items(), 1):
        axes = figure.add_subplot(1, 2, place)
        axes.bar(range(len(names)), [s[key] for s in self_edits])
        axes.set(ylabel=f"{name} a self-edit, mean")
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    return figure


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=120, metadata={"Software": None})
    return path
