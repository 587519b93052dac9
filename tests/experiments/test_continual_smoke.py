"""The smoke recipe on the real model: three passages into SmolLM2-135M, one after the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selfedit.cli import main

RECIPE = Path(__file__).parents[2] / "recipes" / "continual-smoke.toml"


@pytest.mark.model
@pytest.mark.slow
def test_continual_smoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "continual", "--recipe", str(RECIPE), "-o", str(tmp_path), "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [len(row) for row in found["matrix"]] == [3, 1, 2, 3]
    way = found["ways"]["none"]
    assert way["just_edited"]["mean"] > found["rows"][0]["accuracy"], "an edit teaches something"
    assert found["general_loss"]["rise"] > 0, "and damages something"
