"""Figures: what is drawn is what the results hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from selfedit.report.pictures import _by_round, accuracy_figure, draw_pictures, shapes


def row(method: str, accuracy: float) -> dict[str, Any]:
    return {"method": method, "accuracy": accuracy, "se": 0.02, "n": 8}


ROWS = [
    row("base", 0.1),
    row("own", 0.3),
    row("external", 0.35),
    row("seal-1", 0.4),
    row("seal-2", 0.5),
]
SHAPES = [
    {
        "policy": name,
        "tokens": n,
        "facts": 3.0,
        "single_fact": 0.5,
        "diversity": None,
        "compression": 1.5,
    }
    for n, name in enumerate(("before", "after"), 40)
]


def test_accuracy_by_round() -> None:
    figure = accuracy_figure(_by_round(ROWS), ROWS)
    (axes,) = figure.axes
    curve = next(line for line in axes.get_lines() if len(line.get_xdata()) == 3)
    assert list(curve.get_ydata()) == pytest.approx([30.0, 40.0, 50.0])
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {
        "self-edits",
        "base",
        "external",
    }


def test_a_sweep_has_a_curve_a_format() -> None:
    rows = [
        row("base", 0.1),
        *[row(f"{m}:{f}", 0.2) for f in ("rewrite", "none") for m in ("own", "seal-1")],
    ]
    assert list(_by_round(rows)) == ["rewrite", "none"]


def test_without_rl_there_is_no_round() -> None:
    assert _by_round([row("base", 0.1), row("own", 0.3)]) == {}


def test_shapes_leave_out_what_is_not_known() -> None:
    titles = [axes.get_title() for axes in shapes(SHAPES).axes]
    assert len(titles) == 4 and not any("diversity" in title for title in titles)


def test_files(tmp_path: Path) -> None:
    written = draw_pictures(
        {"rows": ROWS, "self_edits": SHAPES, "rounds": {"rewrite": []}}, tmp_path
    )
    assert [path.name for path in written] == ["accuracy-by-round.png", "self-edits-by-round.png"]
    assert all(path.stat().st_size > 1000 for path in written)
