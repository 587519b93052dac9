"""The smoke recipes on the real model: passages into SmolLM2-135M one after the other, and its own
questions.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selfedit.cli import main

RECIPE = Path(__file__).parents[3] / "recipes" / "continual-smoke.toml"


@pytest.mark.model
@pytest.mark.slow
def test_continual_smoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "experiment",
                "continual",
                "--recipe",
                str(RECIPE),
                "-o",
                str(tmp_path),
                "--json",
                "--quiet",
                "--continual.steps=2",
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert [len(row) for row in found["matrix"]] == [2, 1, 2]
    way = found["ways"]["none"]
    assert way["just_edited"]["mean"] > found["rows"][0]["accuracy"]
    assert found["general_loss"]["rise"] > 0, "edits without remedy damage something"


@pytest.mark.model
@pytest.mark.slow
def test_own_questions_smoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = RECIPE.with_name("own-questions-smoke.toml")
    words = [
        "experiment",
        "own-questions",
        "--recipe",
        str(recipe),
        "-o",
        str(tmp_path),
        "--json",
        "--quiet",
        "--rl.contexts=1",
    ]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["survivors"]["written"] > found["survivors"]["kept"] > 0
    methods = ["base", "random", "own-chosen", "own-likelihood-chosen", "gold-chosen"]
    assert [row["method"] for row in found["rows"]] == methods
