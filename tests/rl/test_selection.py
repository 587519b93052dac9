"""Which self-edits are kept, worked out by hand."""

import pytest

from selfedit.config import RewardSettings
from selfedit.rl.selection import rewards


def kept(accuracies, baseline, **settings):
    made = rewards(accuracies, baseline, RewardSettings.model_validate(settings))
    assert len(made) == len(accuracies)
    return [index for index, (_, is_kept) in enumerate(made) if is_kept]


def test_best_of_m_keeps_the_one_best():
    assert rewards([0.2, 0.6, 0.4], 0.2, RewardSettings()) == [
        (0.2, False),
        (0.6, True),
        (0.4, False),
    ]


def test_ties_go_to_the_first_or_to_all():
    assert kept([0.2, 0.6, 0.6, 0.1], 0.0) == [1]
    assert kept([0.2, 0.6, 0.6, 0.1], 0.0, ties="all") == [1, 2]


@pytest.mark.parametrize("rule", ["best-of-m", "improves"])
def test_nothing_is_kept_where_nothing_improves(rule):
    assert kept([0.4, 0.4, 0.0], 0.4, rule=rule, ties="all") == []
    assert kept([0.0, 0.0], 0.0, rule=rule) == []
    assert kept([], 0.0, rule=rule) == []


def test_improves_keeps_all_that_beat_the_base():
    made = rewards([0.2, 0.5, 0.25, 1.0], 0.25, RewardSettings(rule="improves"))
    assert made == [(0.0, False), (1.0, True), (0.0, False), (1.0, True)]


@pytest.mark.parametrize("rule", ["best-of-m", "improves"])
@pytest.mark.parametrize(("baseline", "best"), [(0.6, 0.8), (0.1, 0.3), (0.0, 0.2)])
def test_a_gain_equal_to_the_threshold_is_not_more_than_it(rule, baseline, best):
    assert kept([baseline, best], baseline, rule=rule, threshold=0.2) == []
    assert kept([baseline, best], baseline, rule=rule, threshold=0.19) == [1]


def test_a_negative_threshold_allows_a_loss():
    assert kept([0.3, 0.1, 0.25], 0.4, rule="improves", threshold=-0.2) == [0, 2]
    assert kept([0.3, 0.1, 0.25], 0.4, threshold=-0.2) == [0]


def test_a_threshold_of_minus_one_keeps_the_best_whatever_it_did():
    assert kept([0.1, 0.3, 0.3], 1.0, threshold=-1) == [1]
    assert kept([0.1, 0.3, 0.3], 1.0, threshold=-1, ties="all") == [1, 2]
    assert kept([0.0, 0.0], 1.0, threshold=-1) == [0]
    assert kept([0.0, 0.5], 1.0, threshold=-1, rule="improves") == [0, 1]


def test_solved_keeps_all_that_are_right_whatever_the_base_is():
    made = rewards([1.0, 0.0, 0.5, 1.0], 1.0, RewardSettings(rule="solved"))
    assert made == [(1.0, True), (0.0, False), (0.5, True), (1.0, True)]
    assert kept([1.0, 0.5], 0.0, rule="solved", threshold=0.5) == [0]
