"""Pictures of what candidates earned: every reward by round, and reward against length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from selfedit.grading.stats import mean_se, spearman
from selfedit.report.drawing import bin_edges, from_zero, one_axes, save
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


def draw_rounds(run: RunFolder, into: Path) -> list[Path]:
    """Write the pictures there is something to show in; returns their files."""
    written: list[Path] = []
    if earned := earned_by_round(run):
        unit = _signal(run)
        written.append(save(reward_figure(earned, unit), into / "reward-by-round.png"))
        written.append(save(length_figure(earned, unit), into / "reward-by-length.png"))
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
    edges = bin_edges([scale * row.reward for each in earned for row in each.rows])
    for each in earned:
        _bars_of_round(axes, each, edges, scale)
    _means(axes, earned, scale, what="reward")
    _means(axes, earned, scale, what="baseline")
    rounds = [each.round for each in earned]
    axes.set_xticks(rounds)
    axes.set_xlim(min(rounds) - 0.6, max(rounds) + 0.6)
    if unit == "accuracy":
        from_zero(axes)
    _legend_once(axes)
    return figure


def _bars_of_round(axes: Any, each: Earned, edges: np.ndarray, scale: float) -> None:
    """One round's rewards as bars around its place."""
    middles = (edges[:-1] + edges[1:]) / 2
    # Two or three values: bars as high as their bins would be blocks that show no value.
    height = min(0.8 * (edges[1] - edges[0]), (edges[-1] - edges[0]) / 16)
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
    if unit == "accuracy":
        from_zero(axes)
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


def _legend_once(axes: Any) -> None:
    """Each name once, whatever the number of rounds."""
    handles, names = axes.get_legend_handles_labels()
    once = dict(zip(names, handles, strict=True))
    axes.legend(once.values(), once.keys(), fontsize="small", loc="best")
