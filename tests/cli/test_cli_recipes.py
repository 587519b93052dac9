"""Our recipes by name, in any folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selfedit.config import read_recipe, read_settings, recipe_names
from selfedit.config.by_name import recipes_folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has nothing to do with selfedit, where commands run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_recipe_is_listed_with_what_it_is(run, elsewhere: Path) -> None:
    known = json.loads(run("recipes", "--json").out)
    assert set(known) == {path.stem for path in recipes_folder().glob("*.toml")}
    assert all(len(about) > 20 and "\n" not in about for about in known.values())
    assert "knowledge-cpu" in run("recipes").out


def test_a_recipe_is_named_from_any_folder(run, elsewhere: Path) -> None:
    for name in recipe_names():
        read_settings(name)
    done = run("train", "--recipe", "knowledge-cpu", "--dry-run", "--json")
    assert done.code == 0 and json.loads(done.out)
    written = run("recipes", "knowledge-cpu").out
    (elsewhere / "mine.toml").write_text(written)
    assert read_settings("mine.toml") == read_settings("knowledge-cpu")


def test_a_file_of_that_name_is_taken_instead(elsewhere: Path) -> None:
    (elsewhere / "knowledge-cpu").write_text("seed = 7\n")
    assert read_settings("knowledge-cpu").seed == 7


def test_what_a_recipe_needs_beside_it_is_found(elsewhere: Path) -> None:
    file = read_recipe("cpt-cpu")["external"]["file"]
    assert Path(file).is_file()
