"""Running a command in this process, and a finished small run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from small_runs import small_run

from selfedit.cli import main

PASSAGES = [
    {
        "title": f"The {name} Bridge",
        "context": (
            f"The {name} Bridge was built by Ada {name} in 17{number}1 and has {number} arches."
        ),
        "questions": [
            {"question": "Who built it?", "answers": [f"Ada {name}"]},
            {"question": "How many arches has it?", "answers": [str(number)]},
        ],
    }
    for number, name in enumerate(("Orla", "Venn", "Tamsin", "Quell"), start=2)
]


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("models", "--json")``: exit code, stdout, stderr."""

    def command(*words: object) -> Done:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stopped:  # cyclopts ends the process for wrong usage
            code = int(stopped.code or 0)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return command


@pytest.fixture(scope="session")
def passages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with learn.json (two passages) and held.json (two others)."""
    folder = tmp_path_factory.mktemp("passages")
    for name, records in (("learn", PASSAGES[:2]), ("held", PASSAGES[2:])):
        (folder / f"{name}.json").write_text(json.dumps(records), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def finished(tiny_folder: Path, passages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished small run: read it, do not change it."""
    out = tmp_path_factory.mktemp("runs") / "small"
    assert main([*small_run(tiny_folder, passages, out), "--quiet"]) == 0
    return out
