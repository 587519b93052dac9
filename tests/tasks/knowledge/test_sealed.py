"""The sealed passages are named only as what the recipes of final tables are held out on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paper_recipe import RECIPES
from selfedit.config import read_settings
from selfedit.tasks.knowledge import contexts, corpus

SOURCE = Path(__file__).resolve().parents[3] / "src"
SEALED = "corpus:sealed"
# Recipes whose page shows a final table. A recipe that tries settings out never belongs here.
FINAL_TABLES = frozenset(
    {"knowledge-cpu.toml", "rl-methods-cpu.toml", "crossed-cpu.toml", "cpt-cpu.toml"}
)
# The loader has to know the part, and the corpus's own page describes it: neither reads it unasked.
KNOW_THE_PART = (Path(contexts.__file__), Path(corpus.__file__))

_NAMES = re.compile(r"corpus:sealed|sealed\.json|[\"']sealed[\"']")


def strings(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Every text of nested settings and the dotted name of the setting it stands in."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from strings(inner, f"{at}.{key}".strip("."))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from strings(inner, at)
    elif isinstance(value, str):
        yield at, value


def misuse(recipe: Path) -> list[str]:
    """The settings of a recipe that name the sealed passages where they may not."""
    settings = read_settings(recipe).model_dump(mode="json")
    named = [at for at, text in strings(settings) if _NAMES.search(text)]
    return [at for at in named if at != "heldout" or recipe.name not in FINAL_TABLES]


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_a_recipe_names_them_only_for_a_final_table(recipe: Path):
    assert misuse(recipe) == []
    if recipe.name not in FINAL_TABLES:
        assert not _NAMES.search(recipe.read_text("utf-8"))


def test_no_source_file_names_them():
    files = [path for path in SOURCE.rglob("*.py") if path not in KNOW_THE_PART]
    assert len(files) > 100
    assert [str(path) for path in files if _NAMES.search(path.read_text("utf-8"))] == []
    assert SEALED not in Path(contexts.__file__).read_text("utf-8")


def test_a_misuse_is_seen(tmp_path: Path):
    final = tmp_path / "knowledge-cpu.toml"
    trial = tmp_path / "rates-cpu.toml"
    final.write_text(f'heldout = "{SEALED}"\n')
    assert misuse(final) == []
    final.write_text(f'train = "{SEALED}"\nheldout = "{SEALED}"\n')
    assert misuse(final) == ["train"]
    trial.write_text(f'heldout = "{SEALED}"\n')
    assert misuse(trial) == ["heldout"]
    trial.write_text('train = "src/selfedit/tasks/knowledge/corpus/sealed.json"\n')
    assert misuse(trial) == ["train"]
