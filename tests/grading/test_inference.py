"""T tests, errors over passages and policies, and Holm's correction: against scipy, a textbook and
simulation.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfedit.errors import DataError
from selfedit.grading.inference import crossed, holm, significance, t_test
from selfedit.grading.stats import paired
from selfedit.grading.student import t_quantile, t_tail


@settings(deadline=None)
@given(st.floats(0, 60), st.floats(1, 400))
def test_t_distribution_against_scipy(value: float, df: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert t_tail(value, df) == pytest.approx(stats.t.sf(value, df), rel=1e-8, abs=1e-300)


@pytest.mark.parametrize(("df", "value"), [(1, 12.7062), (2, 4.3027), (7, 2.3646), (55, 2.0040)])
def test_t_quantiles_of_a_printed_table(df: float, value: float) -> None:
    assert t_quantile(0.975, df) == pytest.approx(value, abs=1e-4)


def test_paired_test_against_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.3, 0.2, 8), rng.normal(0.2, 0.2, 8)
    got = t_test(paired(dict(enumerate(a.tolist())), dict(enumerate(b.tolist()))))
    wanted = stats.ttest_rel(a, b)
    assert got.p == pytest.approx(wanted.pvalue)
    assert (got.low, got.high) == pytest.approx(tuple(wanted.confidence_interval(0.95)))
    assert json.loads(json.dumps(got.as_dict()))["df"] == 7


def test_without_an_error_there_is_no_test() -> None:
    assert significance(0.1, None, 0).p is None
    assert significance(0.1, 0.0, 5).p == 0
    assert significance(0.0, 0.0, 5).p == 1


def drawn(
    rng: np.random.Generator, passages: int, policies: int, spread: tuple[float, float, float]
) -> np.ndarray:
    of_passages, of_policies, rest = spread
    return (
        rng.normal(0, of_passages, passages)[None, :]
        + rng.normal(0, of_policies, policies)[:, None]
        + rng.normal(0, rest, (policies, passages))
    )


def as_table(values: np.ndarray) -> dict[int, dict[int, float]]:
    return {at: dict(enumerate(row)) for at, row in enumerate(values.tolist())}


def test_crossed_by_hand() -> None:
    got = crossed({"s0": {"p": 1.0, "q": 3.0}, "s1": {"p": 2.0, "q": 6.0}})
    assert got.test.difference == 3.0
    # Mean squares: passages 2·(1.5² + 1.5²) = 9, policies 2·(1² + 1²) = 4, left over 4·0.5² = 1.
    assert got.test.se == pytest.approx(math.sqrt((9 + 4 - 1) / 4))
    assert got.se_passages == pytest.approx(1.5)
    assert got.se_policies == pytest.approx(1.0)
    assert (got.passages, got.policies) == (2, 2)


@pytest.mark.parametrize(
    "spread", [(0.3, 0.2, 0.3), (0.0, 0.2, 0.3), (0.3, 0.0, 0.3), (0.1, 0.5, 0.2)]
)
def test_intervals_over_both_hold_as_often_as_they_say(spread: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(3)
    found = [crossed(as_table(drawn(rng, 12, 5, spread))) for _ in range(600)]
    inside = np.mean([(each.test.low or 0) <= 0 <= (each.test.high or 0) for each in found])
    assert (
        inside > 0.92
    )  # of the difference 0 that is drawn around; above 0.95 where one factor is nothing
    if spread[1] > 0.1:
        alone = [significance(each.test.difference, each.se_passages, 11) for each in found]
        assert np.mean([(each.low or 0) <= 0 <= (each.high or 0) for each in alone]) < inside - 0.03


@pytest.mark.parametrize(("passages", "policies"), [(8, 3), (56, 3), (56, 6)])
def test_intervals_hold_for_as_few_policies_as_runs_have(passages: int, policies: int) -> None:
    rng = np.random.default_rng(passages + policies)
    inside = 0
    for spread in ((0.3, 0.2, 0.3), (0.0, 0.1, 0.3), (0.3, 0.05, 0.3), (0.1, 0.5, 0.2)):
        for _ in range(150):
            test = crossed(as_table(drawn(rng, passages, policies, spread))).test
            inside += (test.low or 0) <= 0 <= (test.high or 0)
    # 600 draws: the standard error of a share of 95 % is 0.9 points.
    assert 0.93 <= inside / 600 <= 0.985


def test_error_over_both_is_never_below_that_of_one() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        got = crossed(as_table(drawn(rng, 6, 4, (0.2, 0.1, 0.4))))
        assert (got.test.se or 0) >= max(got.se_passages or 0, got.se_policies or 0) - 1e-12


def test_one_policy_has_the_error_over_passages() -> None:
    got = crossed({0: {"p": 0.1, "q": 0.3, "r": 0.2}})
    assert got.test.se == pytest.approx(0.1 / math.sqrt(3))
    assert got.se_policies is None
    assert crossed({0: {"p": 0.1}}).test.p is None


def test_holm_against_the_example_of_its_definition() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06}
    )
    assert holm({}) == {}
    with pytest.raises(DataError, match="p value"):
        holm({"a": 1.5})


def test_what_cannot_be_crossed() -> None:
    for table in ({}, {0: {}}, {0: {"p": 1.0}, 1: {"q": 1.0}}, {0: {"p": math.nan, "q": 1.0}}):
        with pytest.raises(DataError):
            crossed(table)
