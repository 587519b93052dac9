"""A run's pictures: reward by round, and what its self-edits look like by round."""

from __future__ import annotations

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
        written.append(save(rewards(results["rounds"]), folder / "reward-by-round.png"))
    if results.get("self_edits"):
        written.append(save(shapes(results["self_edits"]), folder / "self-edits-by-round.png"))
    return written


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


def save(figure: Figure, path: Path) -> Path:
    """Write a picture, its folder made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    return path
