"""The demo's dial: more minutes, a larger demo that is planned to fit."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from selfedit.config import read_settings
from selfedit.experiments.demo import LADDER, SAFETY, demo_settings, plan
from selfedit.tasks.knowledge.contexts import load_contexts


def test_each_size_is_dearer_than_the_one_before() -> None:
    assert all(a.seconds < b.seconds for a, b in pairwise(LADDER))


@pytest.mark.parametrize("minutes", [5, 10, 20, 45, 120, 600])
def test_the_plan_fits(minutes: float) -> None:
    assert plan(minutes).seconds <= SAFETY * 60 * minutes


def test_too_little_time_gives_the_smallest() -> None:
    assert plan(0.1) == LADDER[0]


def test_more_time_never_gives_less() -> None:
    seconds = [plan(minutes).seconds for minutes in range(1, 200, 3)]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("size", LADDER)
def test_every_size_has_settings_the_corpus_can_serve(size) -> None:
    settings = demo_settings(size, seed=3)
    assert settings.seed == 3
    assert settings.rl.contexts <= len(load_contexts(settings.train))
    assert size.heldout <= len(load_contexts("corpus:heldout"))
    assert settings.eval.methods == ("base", "passage", "own", "seal", "gold")


def test_the_recipe_is_the_demo_of_twenty_minutes() -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "knowledge-cpu.toml"
    assert read_settings(recipe) == demo_settings(plan(20))
