"""Pictures of what learning did and cost: whether the policy moved, and accuracy against what each
method trains on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from selfedit.report.drawing import from_zero, one_axes, save
from selfedit.rl.evaluate import held_out
from selfedit.run.folder import RunFolder
from selfedit.storage.neutral import in_picture


def draw_costs(run: RunFolder, results: Mapping[str, Any], into: Path) -> list[Path]:
    """Write the pictures there is something to show in; returns their files."""
    written: list[Path] = []
    if moved := _movement_by_round(results.get("rounds")):
        bound = run.settings["rl"]["movement"]["kl"]
        written.append(save(movement_figure(moved, bound), into / "policy-moved.png"))
    rows = results.get("rows", [])
    costs = {row["method"]: tokens for row in rows if (tokens := _tokens(run, row["method"])) >= 0}
    if len(costs) > 2:
        written.append(save(cost_figure(rows, costs), into / "cost-and-accuracy.png"))
    return written


def movement_figure(moved: Mapping[int, Mapping[str, Any]], bound: float) -> Figure:
    """KL between the policy before and after each update, beside the bound below which it did not
    move.
    """
    prompts = max(one["prompts"] for each in moved.values() for one in each.values())
    figure, axes = one_axes(
        f"Did the policy move? (n = {prompts} prompts a round)",
        "round of ReST-EM",
        "KL(new‖old), nats a self-edit",
    )
    for name, mark in (("learned", "o"), ("heldout", "s")):
        rounds = [number for number, each in moved.items() if name in each]
        heights = [moved[number][name]["kl"] for number in rounds]
        label = "the round's prompts" if name == "learned" else "held-out prompts"
        if rounds:
            axes.plot(rounds, heights, marker=mark, label=label)
    axes.axhline(bound, linestyle="--", color="C3", label=f"did not move: below {bound:g}")
    axes.set_xticks(list(moved))
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
    return figure


def _movement_by_round(rounds: object) -> dict[int, dict[str, Any]]:
    """What was measured of each round's update."""
    measured: dict[int, dict[str, Any]] = {}
    for each in rounds if isinstance(rounds, list) else []:
        movement = each.get("movement") or {}
        parts = {name: movement[name] for name in ("learned", "heldout") if movement.get(name)}
        if parts:
            measured[each["round"]] = parts
    return measured


def cost_figure(rows: Sequence[Mapping[str, Any]], costs: Mapping[str, float]) -> Figure:
    """Accuracy of each method against what it trains on."""
    n = max(row["n"] for row in rows)
    figure, axes = one_axes(
        f"What accuracy costs (n = {n} passages; bars: standard errors)",
        "tokens trained on, a passage",
        "held-out accuracy, %",
    )
    points = [row for row in rows if row["method"] in costs and row["accuracy"] is not None]
    for number, row in enumerate(points):
        at, height = costs[row["method"]], 100 * row["accuracy"]
        error = 100 * (row["se"] or 0.0)
        look = {"color": f"C{number % 10}", "marker": "osD^vPX*"[number % 8], "capsize": 4}
        name = in_picture(row["method"])
        axes.errorbar([at], [height], [error], linestyle="none", label=name, **look)
    from_zero(axes)
    axes.legend(fontsize="small")
    return figure


def _tokens(run: RunFolder, method: str) -> float:
    """Mean tokens that a method trains on for a passage; below 0 where it asked nothing here."""
    # Tokens, not seconds: they are the same on every machine.
    counts: list[int] = []
    for trial in run.ledger.each_trial(held_out(method)):
        counts.append(0 if trial.training is None else trial.training.tokens)
    return sum(counts) / len(counts) if counts else -1.0
