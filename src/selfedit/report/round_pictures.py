"""Pictures of what candidates earned, from a run's ledger: every reward by round, reward against
length, whether the policy moved, cost against accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from selfedit.grading.stats import mean_se, spearman
from selfedit.report.drawing import one_axes, save
from selfedit.rl.evaluate import held_out
from selfedit.run.folder import RunFolder
from selfedit.run.records import Phase, RewardRow
from selfedit.storage.neutral import in_picture


@dataclass(frozen=True)
class Earned:
    """What the candidates of a round earned.

    Attributes:
        round: its number, from 1.
        rows: a reward a candidate, those without one left out.
        tokens: of each one's self-edit, in the same order.
    """

    round: int
    rows: Sequence[RewardRow]
    tokens: Sequence[int]


def draw_rounds(run: RunFolder, results: Mapping[str, Any], into: Path) -> list[Path]:
    """Write the pictures there is something to show in; returns their files."""
    written: list[Path] = []
    if earned := earned_by_round(run):
        unit = _signal(run)
        written.append(save(reward_figure(earned, unit), into / "reward-by-round.png"))
        written.append(save(length_figure(earned, unit), into / "reward-by-length.png"))
    if moved := _movement_by_round(results.get("rounds")):
        bound = run.settings["rl"]["movement"]["kl"]
        written.append(save(movement_figure(moved, bound), into / "policy-moved.png"))
    rows = results.get("rows", [])
    costs = {row["method"]: tokens for row in rows if (tokens := _tokens(run, row["method"])) >= 0}
    if len(costs) > 2:
        written.append(save(cost_figure(rows, costs), into / "cost-and-accuracy.png"))
    return written


def earned_by_round(run: RunFolder) -> list[Earned]:
    """Every reward of every finished round, with the length of its self-edit."""
    earned: list[Earned] = []
    for at in run.ledger.places():
        rewards = run.ledger.rewards(at) if at.phase is Phase.RL else []
        tokens = {
            (row.context_id, row.candidate): row.tokens
            for row in (run.ledger.each_self_edit(at) if rewards else ())
        }
        rows = [row for row in rewards if not math.isnan(row.reward)]
        if rows:
            lengths = [tokens.get((row.context_id, row.candidate), 0) for row in rows]
            earned.append(Earned(at.round or 0, rows, lengths))
    return sorted(earned, key=lambda each: each.round)


def _signal(run: RunFolder) -> str:
    return in_picture(str(run.settings["rl"]["reward"]["signal"]))


def reward_figure(earned: Sequence[Earned], unit: str) -> Figure:
    """How a round's rewards are spread, as bars whose length is a share of its candidates, those
    kept in colour; the mean over contexts with its standard error; the unadapted model.
    """
    count = sum(len(each.rows) for each in earned)
    figure, axes = one_axes(
        f"Reward of every self-edit, by round (n = {count}; bars: standard errors over contexts)",
        "round of ReST-EM",
        _axis(unit),
    )
    scale = _scale(unit)
    edges = _bin_edges([scale * row.reward for each in earned for row in each.rows])
    for each in earned:
        _bars_of_round(axes, each, edges, scale)
    _means(axes, earned, scale, what="reward")
    _means(axes, earned, scale, what="baseline")
    rounds = [each.round for each in earned]
    axes.set_xticks(rounds)
    axes.set_xlim(min(rounds) - 0.6, max(rounds) + 0.6)
    _room(axes, unit)
    _legend_once(axes)
    return figure


def _bin_edges(rewards: Sequence[float]) -> np.ndarray:
    """Those of bins that part the rewards there are."""
    distinct = np.unique(rewards)
    if len(distinct) == 1:
        return np.array([distinct[0] - 2.5, distinct[0] + 2.5])
    # Accuracies of a few questions take few values: a bin around each; else twenty.
    bins = min(len(distinct), 20)
    half = (distinct[-1] - distinct[0]) / (bins - 1) / 2
    return np.linspace(distinct[0] - half, distinct[-1] + half, bins + 1)


def _bars_of_round(axes: Any, each: Earned, edges: np.ndarray, scale: float) -> None:
    """One round's rewards as bars around its place."""
    middles, height = (edges[:-1] + edges[1:]) / 2, 0.8 * (edges[1] - edges[0])
    counts = {
        kept: np.histogram([scale * row.reward for row in each.rows if row.kept is kept], edges)[0]
        for kept in (True, False)
    }
    widths = {kept: 0.9 * count / len(each.rows) for kept, count in counts.items()}
    # Around the round's place, as a violin is, so that rounds can be compared at a glance.
    left = each.round - (widths[True] + widths[False]) / 2
    looks = ((False, "0.65", "not kept"), (True, "C0", "kept"))
    for kept, colour, name in looks:
        axes.barh(middles, widths[kept], height, left, color=colour, label=name)
        left = left + widths[kept]


_MEANS = {
    "reward": (-0.4, {"color": "C3", "marker": "D", "label": "mean of all"}),
    "baseline": (0.4, {"color": "C1", "marker": "_", "label": "unadapted model"}),
}
"""How far beside its round a mean stands, and how it looks."""


def _means(axes: Any, earned: Sequence[Earned], scale: float, *, what: str) -> None:
    """A mean a round with its standard error, both over contexts."""
    shift, look = _MEANS[what]
    for each in earned:
        by_context: dict[str, list[float]] = {}
        for row in each.rows:
            by_context.setdefault(row.context_id, []).append(getattr(row, what))
        estimate = mean_se([sum(values) / len(values) for values in by_context.values()])
        height, error = scale * estimate.mean, scale * (estimate.se or 0.0)
        style = {"capsize": 4, "markersize": 8, "linestyle": "none", **look}
        axes.errorbar([each.round + shift], [height], [error], **style)


def _axis(unit: str) -> str:
    return "reward: accuracy, %" if unit == "accuracy" else f"reward: {unit}"


def _scale(unit: str) -> float:
    return 100.0 if unit == "accuracy" else 1.0


def _room(axes: Any, unit: str) -> None:
    """Accuracies begin at 0, with room for the dots that lie there."""
    if unit == "accuracy":
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, -4), max(high, 10))


def length_figure(earned: Sequence[Earned], unit: str) -> Figure:
    """Reward against length, a colour a round; the rank correlation over all."""
    tokens = [count for each in earned for count in each.tokens]
    rewards = [row.reward for each in earned for row in each.rows]
    alike = spearman(tokens, rewards) if len(set(tokens)) > 1 and len(set(rewards)) > 1 else None
    words = "not known" if alike is None else f"{alike:+.2f}"
    figure, axes = one_axes(
        f"Reward against length (n = {len(tokens)}; rank correlation {words})",
        "tokens of the self-edit",
        _axis(unit),
    )
    scale = _scale(unit)
    for number, each in enumerate(earned):
        values = [scale * row.reward for row in each.rows]
        look = {"s": 14, "color": f"C{number % 10}", "alpha": 0.5, "linewidths": 0}
        axes.scatter(each.tokens, values, label=f"round {each.round}", **look)
    _fifths(axes, tokens, [scale * reward for reward in rewards])
    _room(axes, unit)
    axes.legend(fontsize="small")
    return figure


def _fifths(axes: Any, tokens: Sequence[int], rewards: Sequence[float]) -> None:
    """Mean reward of each fifth by length, with its standard error; fewer than 25 say nothing."""
    if len(tokens) < 25:
        return
    # By rank: lengths crowd around their mean, and equal widths would leave the ends to chance.
    order = np.argsort(tokens, kind="stable")
    for number, part in enumerate(np.array_split(order, 5)):
        estimate = mean_se([rewards[at] for at in part])
        middle = float(np.median([tokens[at] for at in part]))
        name = "mean of a fifth, by length" if number == 0 else None
        look = {"color": "C3", "marker": "D", "capsize": 4, "label": name}
        axes.errorbar([middle], [estimate.mean], [estimate.se or 0.0], **look)


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
    _room(axes, "accuracy")
    axes.legend(fontsize="small")
    return figure


def _tokens(run: RunFolder, method: str) -> float:
    """Mean tokens that a method trains on for a passage; below 0 where it asked nothing here."""
    counts: list[int] = []
    for trial in run.ledger.each_trial(held_out(method)):
        counts.append(0 if trial.training is None else trial.training.tokens)
    return sum(counts) / len(counts) if counts else -1.0


def _legend_once(axes: Any) -> None:
    """Each name once, whatever the number of rounds."""
    handles, names = axes.get_legend_handles_labels()
    once = dict(zip(names, handles, strict=True))
    axes.legend(once.values(), once.keys(), fontsize="small", loc="best")
