"""Every smoke recipe still gives the figures it gave when they were recorded (see figures.py)."""

from __future__ import annotations

import json
from pathlib import Path

import figures
import pytest

RECORDED = json.loads(figures.RECORD.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if RECORDED["machine"] != figures.machine():
        pytest.skip(
            f"recorded on {RECORDED['machine']}, this is {figures.machine()}: sums differ in their"
            " last bits"
        )
    folder = figures.write_model(tmp_path_factory.mktemp("reference") / "model")
    assert figures.model_print(folder) == RECORDED["model"], (
        "the test model is another one: record the figures anew"
    )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", figures.RUNS)
def test_the_figures_are_those_recorded(name: str, model: Path, tmp_path: Path) -> None:
    if name == "replay" and not figures.PUBLISHED.exists():
        pytest.skip(f"needs the published self-edits in {figures.PUBLISHED}")
    recorded, now = RECORDED["runs"][name], figures.run(name, model, tmp_path / "run")
    assert recorded.keys() <= now.keys(), sorted(recorded.keys() - now.keys())[:5]
    changed = {
        key: (value, now[key])
        for key, value in recorded.items()
        if not figures.same(value, now[key])
    }
    assert not changed, (
        f"{len(changed)} of {len(recorded)} figures differ, {dict(list(changed.items())[:5])}"
    )
