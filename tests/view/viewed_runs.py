"""Runs whose every text is the same one, and the token of the page over them."""

from __future__ import annotations

from pathlib import Path

from run_rows import answer, reward, rl, self_edit, trial
from selfedit.run.folder import RunFolder
from selfedit.run.records import TimingRow

TOKEN = "a-token-that-nobody-guesses"
SETTINGS = {"model": "m", "seed": 1}


def written_run(folder: Path, name: str = "c0", text: str = "one\ntwo") -> Path:
    """A run whose every text is the same one."""
    with RunFolder.open(folder, SETTINGS, kind="knowledge") as run:
        ledger, place = run.ledger, rl(1)
        ledger.add_self_edits([self_edit(name, place=place, text=text)])
        answers = [answer(name, text, correct=True, score=1.0, grader=name)]
        ledger.add_trials([trial(name, place=place, answers=answers)])
        ledger.add_rewards([reward(name, place=place)])
        ledger.add_timings([TimingRow(place=place, part=name or "x", seconds=1.0, count=1)])
        row = {"method": name, "accuracy": 0.5, "se": None, "n": 1}
        table = {"title": name, "columns": [name, "x"], "rows": [[name, "1"]]}
        run.write_results(
            {"experiment": name, "title": name, "rows": [row], "names": {name: name},
             "tables": [table], "notes": [name], "contexts": {name: {name: 0.5}}, "grader": name}
        )  # fmt: skip
    return folder
