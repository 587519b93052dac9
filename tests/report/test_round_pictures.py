"""Pictures of what candidates earned: what is drawn is what the ledger holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from selfedit.report.cost_pictures import cost_figure, movement_figure
from selfedit.report.drawing import NIGHT, night_name, save
from selfedit.report.round_pictures import Earned, length_figure, reward_figure
from selfedit.run.records import Phase, Place, RewardRow


def earned(rewards: list[float], kept: int = 0) -> Earned:
    """A round of one context."""
    rows = [
        RewardRow(
            place=Place(Phase.RL, round=1),
            context_id="a",
            candidate=number,
            reward=reward,
            accuracy=reward,
            baseline=0.1,
            kept=number == kept,
        )
        for number, reward in enumerate(rewards)
    ]
    return Earned(1, rows, [10 * (number + 1) for number in range(len(rewards))])


def test_every_reward_is_in_a_bar_of_its_height() -> None:
    figure = reward_figure([earned([0.0, 0.0, 0.5, 1.0], kept=3)], "accuracy")
    (axes,) = figure.axes
    assert "n = 4" in axes.get_title(loc="left") and axes.get_ylabel().endswith("%")
    bars = [bar for bar in axes.patches if bar.get_width() > 0]
    shares = {round(bar.get_y() + bar.get_height() / 2): bar.get_width() / 0.9 for bar in bars}
    assert shares == pytest.approx({0: 0.5, 50: 0.25, 100: 0.25})


def test_rewards_that_are_not_equally_far_apart_stand_at_their_own_height() -> None:
    (axes,) = reward_figure([earned([0.1, 0.1, 0.4, 0.5], kept=3)], "accuracy").axes
    bars = [bar for bar in axes.patches if bar.get_width() > 0]
    assert sorted(round(bar.get_y() + bar.get_height() / 2) for bar in bars) == [10, 40, 50]
    assert all(bar.get_height() < 5 for bar in bars), "a bar shows a value, not a range"


def test_one_reward_alone_can_be_drawn() -> None:
    assert reward_figure([earned([0.2])], "accuracy").axes[0].patches


def test_the_length_picture_says_how_much_length_explains() -> None:
    figure = length_figure([earned([0.0, 0.2, 0.4, 0.6])], "accuracy")
    assert "n = 4; rank correlation +1.00" in figure.axes[0].get_title(loc="left")
    flat = length_figure([earned([0.2, 0.2])], "loglik")
    assert "not known" in flat.axes[0].get_title(loc="left")
    assert flat.axes[0].get_ylabel() == "reward: loglik"


def test_the_bound_of_movement_is_drawn() -> None:
    moved = {1: {"learned": {"kl": 0.5, "prompts": 8}}, 2: {"learned": {"kl": 0.01, "prompts": 8}}}
    axes = movement_figure(moved, 0.02).axes[0]
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[0.5, 0.01], [0.02, 0.02]]


def test_cost_has_a_point_a_method() -> None:
    rows = [
        {"method": "base", "accuracy": 0.1, "se": None, "n": 1},
        {"method": "own", "accuracy": 0.3, "se": 0.1, "n": 8},
        {"method": "other", "accuracy": 0.3, "se": 0.1, "n": 8},
    ]
    axes = cost_figure(rows, {"base": 0.0, "own": 900.0}).axes[0]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["base", "own"]


def test_a_picture_has_a_dark_twin_that_can_be_read(tmp_path: Path) -> None:
    path = save(reward_figure([earned([0.1, 0.9])], "accuracy"), tmp_path / "p.png")
    with Image.open(path) as day, Image.open(night_name(path)) as night:
        assert day.size == night.size and day.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        ground = tuple(int(NIGHT[at : at + 2], 16) for at in (1, 3, 5))
        pixels = night.convert("RGB").getcolors(2**24) or []
        assert night.convert("RGB").getpixel((0, 0)) == ground
        # Letters and axes are light: nothing of the ground's twin is black on it.
        assert max(sum(colour) for _, colour in pixels) > 600
        assert min(sum(colour) for _, colour in pixels) > 30
