"""Settings as options: every one is there, with its bounds, and reaches the run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from selfedit.cli.setting_options import option_name, overrides_from
from selfedit.config import Settings, read_settings
from selfedit.config.described import in_words, leaves


def test_train_help_lists_every_setting() -> None:
    # a process of its own: within one, the width of the first help printed holds for all
    asked = [sys.executable, "-m", "selfedit", "train", "--help"]
    wide = {**os.environ, "COLUMNS": "300"}
    shown = subprocess.run(asked, capture_output=True, text=True, env=wide, check=True).stdout
    for dotted, _ in leaves(Settings):
        assert (f"{option_name(dotted)} " in shown) != dotted.startswith(
            "arc."
        )  # those are another task's


def test_descriptions_have_bounds_and_the_default_that_holds() -> None:
    found = {dotted: in_words(field).line() for dotted, field in leaves(Settings)}
    assert "> 0" in found["inner.optim.lr"] and "≤ 1" in found["inner.optim.lr"]
    assert "default 0.001" in found["inner.optim.lr"]
    assert "default 0.0003" in found["rl.mstep.optim.lr"]
    assert "best-of-m | improves" in found["rl.reward.rule"]


def test_defaults_are_those_of_the_settings() -> None:
    whole = Settings()
    for dotted, field in leaves(Settings):
        value = whole
        for part in dotted.split("."):
            value = getattr(value, part)
        assert field.default == value, dotted


def test_overrides_become_settings() -> None:
    options = {
        "inner__optim__lr": "5e-4",
        "inner__optim__clip": "none",
        "inner__lora__targets": "q_proj, v_proj",
        "edit__passage": "false",
        "edit__directives__lr": "1e-4,1e-3",
        "heldout": None,
    }
    settings = read_settings(overrides=overrides_from(options))
    assert settings.inner.optim.lr == 5e-4
    assert settings.inner.optim.clip is None
    assert settings.inner.lora.targets == ("q_proj", "v_proj")
    assert settings.edit.passage is False
    assert settings.edit.directives.lr == (1e-4, 1e-3)
    assert settings.heldout == "corpus:heldout"


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--inner.optim.lr=7", "inner.optim.lr"),
        ("--rl.rounds=-1", "rl.rounds"),
        ("--edit.format=poem", "edit.format"),
    ],
)
def test_a_value_out_of_bounds_is_named(run, tmp_path, option: str, named: str) -> None:
    done = run("train", option, "--out", tmp_path / "run")
    assert done.code == 2
    assert named in done.err
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_is_not_toml(run, tmp_path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("seed = = 1")
    done = run("train", "--recipe", recipe, "--out", tmp_path / "run")
    assert done.code == 3
    assert "recipe.toml" in done.err and "line 1" in done.err


_NAMED = [
    ("--sampler", "vlm"),
    ("--eval.sampler", "vlm"),
    ("--answer.grader", "contans"),
    ("--run.trackers", "wandbb"),
    ("--device", "abacus"),
]


@pytest.mark.parametrize(("option", "name"), _NAMED)
def test_a_name_of_nothing_ends_a_run_before_its_folder_is_made(
    run, tmp_path, option: str, name: str
) -> None:
    # Its folder would freeze the name, and refuse the right one afterwards.
    out = tmp_path / "run"
    document = tmp_path / "a.md"
    document.write_text("The mill was built in 1412.")
    verbs = [["train"], ["experiment", "single-passage"], ["adapt", "no/model", document]]
    for words in verbs[:2] if "sampler" in option else verbs:
        done = run(*words, option, name, "-q", "--out", out)
        assert done.code == 2 and name in done.err, done.err
        assert not out.exists()


@pytest.mark.parametrize(("option", "name"), [*_NAMED, ("--model", "smollm3-135m")])
def test_a_dry_run_says_which_name_is_of_nothing(run, option: str, name: str) -> None:
    done = run("train", option, name, "--dry-run")
    assert done.code == 0 and "it cannot start yet" in done.err and name in done.err
