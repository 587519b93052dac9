"""The runs behind the pages' tables: what they name is there, and a command does what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tables
from selfedit.config import read_settings
from selfedit.report.markdown import begin

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("page", tables.pages(1), ids=lambda page: page.block)
def test_a_page_has_its_block_and_its_recipes(page: tables.Page) -> None:
    text = (ROOT / "recipes" / f"{page.page}.md").read_text("utf-8")
    assert begin(page.block) in text
    for run in page.runs:
        recipe = ROOT / run.words[run.words.index("--recipe") + 1]
        settings = read_settings(recipe).model_dump_json()
        named = {name for name in tables.POLICIES if f"runs/{name}/policy" in settings}
        assert named == {*run.needs}, "the policies that its recipe reads are those that it needs"
        assert run.name in text or f"runs/{run.words[0]}" in text or "$update-$seed" in text


def test_what_a_run_needs_comes_first_and_what_is_done_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables, "RUNS", tmp_path)
    commands: list[tuple[str, ...]] = []

    def finished(*words: str) -> None:
        commands.append(words)
        if "-o" in words:
            folder = Path(words[words.index("-o") + 1])
            folder.mkdir()
            (folder / "results.json").write_text("{}")

    monkeypatch.setattr(tables, "call", finished)
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["tables.py", "cpt-cpu", "--", "--device", "cpu"])
        tables.main()
    verbs = [words[0] for words in commands]
    assert verbs == ["train", "experiment", "report", "report"]
    assert commands[0][-2:] == commands[1][-2:] == ("--device", "cpu")
    monkeypatch.setattr(sys, "argv", ["tables.py"])
    tables.main()
    lines = capsys.readouterr().out.splitlines()
    assert any(
        line.split() == ["cpt-cpu", "1", "of", "1", "runs", "done,", "0", "minutes", "to", "go"]
        for line in lines
    )
    # The policy is there: what the other experiment takes is its own minutes.
    assert any(line.startswith("crossed-cpu") and "22 minutes" in line for line in lines)
