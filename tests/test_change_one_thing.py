"""The diffs of docs/architecture.md, "Change one thing": each is a whole file and recipe, and each
does what its paragraph says in a small run.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import selfedit as se
from selfedit.experiments.knowledge.train import run_knowledge
from test_pluggable import values

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Change one thing")[2].partition("\n## ")[0]
ADDED = re.compile(r"^\+ ?(.*)$|^ {2}# recipe\.toml$", re.MULTILINE)
PLACE = se.Place(se.Phase.RL, round=1)


def changes() -> Iterator[tuple[str, str, str]]:
    """Each diff: its module's name, the module, the recipe."""
    for diff in re.findall(r"```diff\n(.*?)```", SECTION, re.DOTALL):
        module, recipe = diff.split("  # recipe.toml\n")
        added = [re.sub(r"^\+ ?", "", line) for line in module.splitlines()]
        name = added[0].removeprefix("# ").removesuffix(".py")
        yield name, "\n".join(added), re.sub(r"^\+ ?", "", recipe, flags=re.MULTILINE)


CHANGES = {name: (module, recipe) for name, module, recipe in changes()}


def test_there_are_five_and_their_rooms_and_examples_are_there() -> None:
    assert list(CHANGES) == ["brevity", "best_only", "greedy", "headlines", "lines_only"]
    for name in re.findall(
        r"`((?:examples|rl|sampling|tasks|grading|retention)/[\w/.]+)`", SECTION
    ):
        folder = ROOT if name.startswith("examples") else ROOT / "src" / "selfedit"
        path = folder / name.replace("NAME.py", "base.py")
        assert path.exists(), name
    for example in ("thrifty_reward", "advantage_update", "naming_rules"):
        assert f"examples/{example}" in SECTION


def test_they_use_public_names_only() -> None:
    for module, _ in CHANGES.values():
        for node in ast.walk(ast.parse(module)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.value.id != "se" or node.attr in se.__all__
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("selfedit")


@pytest.fixture
def run_with(small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A finished small run with one change made."""

    def changed(name: str) -> se.RunFolder:
        module, recipe = CHANGES[name]
        (tmp_path / f"{name}.py").write_text(module, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        tree = values(small_folder, tmp_path)
        plain = {
            "task": "knowledge",
            "sampler": "local",
            "edit.format": "implications",
            "answer.grader": "contains",
            "rl.update": "filtered_sft",
            "rl.reward.signal": "accuracy",
            "eval.methods": ["base"],
        }
        overrides = plain | dict(_dotted(tomllib.loads(recipe)))
        run_knowledge(tmp_path / "run", se.make_settings(tree, overrides=overrides))
        return se.RunFolder.read(tmp_path / "run")

    return changed


def _dotted(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_the_reward(run_with: Any) -> None:
    with run_with("brevity") as run:
        trials = {trial.key[:2]: trial for trial in run.ledger.trials(PLACE)}
        for row in run.ledger.rewards(PLACE):
            texts = [answer.text for answer in trials[row.context_id, row.candidate].answers]
            assert row.accuracy == -sum(map(len, texts))


def test_the_update(run_with: Any) -> None:
    with run_with("best_only") as run:
        assert (run.policy(1) / "adapter").exists()
        assert run.settings["rl"]["update"] == "best_only:BestOnly"


def test_the_sampler(run_with: Any) -> None:
    with run_with("greedy") as run:
        texts: dict[str, set[str]] = {}
        for row in run.ledger.self_edits(PLACE):
            texts.setdefault(row.context_id, set()).add(row.text)
        assert all(len(written) == 1 for written in texts.values()), "no chance in it"


def test_the_format_and_the_grader(run_with: Any) -> None:
    with run_with("headlines") as run:
        grades = [a.grader for trial in run.ledger.trials(PLACE) for a in trial.answers]
        assert set(grades) == {"mentioned"}
        assert run.settings["edit"]["format"] == "headlines:Headlines"
        assert run.settings["judge"]["prompt"].startswith("Say yes")


def test_the_task(run_with: Any) -> None:
    with run_with("lines_only") as run:
        rows = {(row.context_id, row.candidate): row for row in run.ledger.self_edits(PLACE)}
        for trial in run.ledger.trials(PLACE):
            if trial.training is not None:
                text = rows[trial.context_id, trial.candidate].text
                assert trial.training.steps <= max(1, len(text.splitlines()))
