"""Means, errors and correlations against hand-computed values and scipy."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfedit.errors import DataError
from selfedit.grading.stats import clustered, mean_se, paired, spearman

NUMBERS = st.integers(-50, 50).map(float)


def test_mean_and_error_by_hand() -> None:
    got = mean_se([1, 2, 3, 4])
    assert (got.mean, got.n) == (2.5, 4)
    assert got.se == pytest.approx(
        math.sqrt(5 / 3) / 2
    )  # squared deviations 5, over n - 1 = 3, over root 4


def test_one_value_has_no_error() -> None:
    assert mean_se([0.5]).as_dict() == {"mean": 0.5, "se": None, "n": 1}
    assert "?" in str(mean_se([0.5]))


def test_every_passage_weighs_the_same() -> None:
    got = clustered({"long": [1, 1, 1, 1, 1, 1, 1, 0], "short": [0]})
    assert got.mean == pytest.approx(0.4375)  # (7/8 + 0) / 2, not 7/9
    assert got.n == 2
    assert got.se == pytest.approx(0.4375)  # sample sd of (7/8, 0) is 0.875/√2, over √2


def test_paired_difference() -> None:
    got = paired({"p": 0.9, "q": 0.5, "r": 0.4}, {"r": 0.4, "p": 0.7, "q": 0.5})
    assert got.difference == pytest.approx(0.2 / 3)
    assert got.se == pytest.approx(0.2 / 3)  # differences 0.2, 0, 0
    assert json.loads(json.dumps(got.as_dict()))["n"] == 3
    assert str(got).startswith("+0.067")


@pytest.mark.parametrize(
    ("a", "b"), [({"p": 1.0}, {"q": 1.0}), ({"p": 1.0, "q": 0.0}, {"p": 1.0}), ({}, {})]
)
def test_other_ids_cannot_be_paired(a: dict[str, float], b: dict[str, float]) -> None:
    with pytest.raises(DataError, match="shared"):
        paired(a, b)


def test_spearman_by_hand() -> None:
    assert spearman([1, 2, 3], [10, 20, 15]) == pytest.approx(0.5)  # 1 - 6 * (0 + 1 + 1) / (3 * 8)
    assert spearman([1, 2, 3], [5, 5, 5]) is None


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=30))
def test_against_scipy(pairs: list[tuple[float, float]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    x, y = [p[0] for p in pairs], [p[1] for p in pairs]
    assert mean_se(x).se == pytest.approx(stats.sem(x))
    ours = spearman(x, y)
    if ours is not None:
        assert ours == pytest.approx(stats.spearmanr(x, y).statistic)


def test_what_cannot_be_averaged() -> None:
    with pytest.raises(DataError, match="no values"):
        mean_se([])
    with pytest.raises(DataError, match="finite"):
        mean_se([1.0, math.nan])
    with pytest.raises(DataError, match="cluster"):
        clustered({"a": [1.0], "b": []})
    with pytest.raises(DataError, match="pairs"):
        spearman([1, 2], [1])
