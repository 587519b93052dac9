"""Learning curves over rounds, seeds and settings, with errors over passages and policies."""

from __future__ import annotations

import math

import pytest

from selfedit.errors import UsageError
from selfedit.results.by_settings import groups_of
from selfedit.results.curves import curve_table, learning_curves
from selfedit.results.results import Results


def run(seed: int, update: str, *rounds: dict[str, float]) -> Results:
    """A run whose accuracies before RL and after each round are these."""
    names = ["own", *(f"seal-{number}" for number in range(1, len(rounds)))]
    settings = {"seed": seed, "rl": {"update": update, "rounds": len(rounds) - 1}, "workers": seed}
    contexts = dict(zip(names, rounds, strict=True))
    return Results(experiment="knowledge", contexts=contexts, settings=settings)


ZERO = {"p": 0.0, "q": 0.0}
RUNS = [
    ("a", run(0, "sft", ZERO, {"p": 0.1, "q": 0.3}, {"p": 0.1, "q": 0.3})),
    ("b", run(1, "sft", ZERO, {"p": 0.2, "q": 0.6}, {"p": 0.2, "q": 0.6})),
    ("c", run(1, "rloo", ZERO, {"p": 0.4, "q": 0.8})),
    ("d", run(0, "rloo", ZERO, {"p": 0.3, "q": 0.5})),
]


def test_runs_of_equal_settings_are_policies_of_one_group() -> None:
    groups = groups_of(RUNS)
    assert [(group.name, list(group.runs)) for group in groups] == [
        ("rounds 2, update sft", [0, 1]),
        ("rounds 1, update rloo", [0, 1]),
    ]
    with pytest.raises(UsageError, match="two runs have the seed 1"):
        groups_of([*RUNS, ("e", RUNS[1][1])])
    (alone,) = groups_of(RUNS[:2])
    assert alone.name == ""


def test_a_gain_has_an_error_over_both() -> None:
    points = learning_curves(groups_of(RUNS))
    found = [(point.group[-4:], point.round) for point in points]
    assert found == [(" sft", 0), (" sft", 1), (" sft", 2), ("rloo", 0), ("rloo", 1)]
    gain = points[1].gain
    assert gain is not None and gain.test.difference == pytest.approx(0.3)
    # Tenths of the crossed example by hand: differences 1, 3 and 2, 6.
    assert gain.test.se == pytest.approx(math.sqrt((9 + 4 - 1) / 4) / 10)
    assert points[2].step is not None and points[2].step.test.difference == pytest.approx(0.0)
    # Seeds are paired whatever order the runs come in: rloo gains 0.2 on each passage and seed.
    over = points[4].over_first
    assert over is not None and over.test.difference == pytest.approx(0.2)
    assert over.test.se == pytest.approx(0.0, abs=1e-9)
    assert points[1].over_first is None


def test_the_table_counts_its_comparisons() -> None:
    table = curve_table(learning_curves(groups_of(RUNS)))
    assert [column.name for column in table.columns][7] == "p (Holm, 4 comparisons)"
    assert table.shown()[1][:5] == ["rounds 2, update sft", "1", "2", "2", "30.0 (17.3)"]


def test_runs_without_a_policy_have_no_curve() -> None:
    assert learning_curves(groups_of([("a", run(0, "sft", ZERO))])) == []
