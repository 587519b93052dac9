"""The picture of learning curves over seeds and settings."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from selfedit.report.drawing import one_axes
from selfedit.results.curves import Point
from selfedit.storage.neutral import in_picture


def curve_picture(points: Sequence[Point]) -> Figure:
    """Held-out accuracy by round for each group of settings, the mean over its policies with the
    standard error over passages and policies at once.
    """
    figure, axes = one_axes(
        "Learning curves (bars: standard errors over passages and policies)",
        "round of ReST-EM",
        "held-out accuracy, %",
    )
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.group, []).append(point)
    for name, of_group in groups.items():
        tests = [point.accuracy.test for point in of_group]
        heights = [100 * test.difference for test in tests]
        errors = [100 * (test.se or 0.0) for test in tests]
        policies = of_group[0].accuracy.policies
        label = in_picture(f"{name or 'self-edits'} ({policies} policies)")
        rounds = [point.round for point in of_group]
        axes.errorbar(rounds, heights, errors, marker="o", capsize=3, label=label)
    axes.set_xticks(sorted({point.round for point in points}))
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
    return figure
