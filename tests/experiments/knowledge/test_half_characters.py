"""Half a surrogate pair, which UTF-8 has no bytes for, from everywhere that is not this program: at
the first start, at a restart, and in what is read of the run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fake_endpoint import FakeEndpoint
from selfedit.cli import main
from selfedit.errors import Interrupted
from selfedit.experiments.knowledge.single_passage import run_single_passage
from stopping import Stop
from tiny_run import tiny_settings

pytestmark = pytest.mark.server
HALF = "The tower \ud83d is \udc00 tall."


def changes(small_folder: Path, data: Path) -> dict[str, Any]:
    return {
        "model": str(small_folder),
        "device": "cpu",
        "heldout": str(data / "heldout.json"),
        "rl__rounds": 0,
        "eval__methods": ["base", "external"],
    }


def check_a_restart_and_every_reader(folder: Path, settings: Any) -> None:
    """Stopped halfway, gone on with, started once more, and read."""
    with pytest.raises(Interrupted):
        run_single_passage(folder, settings, interrupt=Stop(3))
    results = run_single_passage(folder, settings)
    (folder / "results.json").unlink()
    assert run_single_passage(folder, settings) == results
    for words in (
        ["report"],
        ["evaluate"],
        ["evaluate", "--grader", "exact"],
        ["evaluate", "--json"],
    ):
        assert main([words[0], str(folder), *words[1:]]) == 0
    assert main(["report", str(folder), "--markdown"]) == 0


def test_in_a_file_of_self_edits(small_folder: Path, data: Path, tmp_path: Path) -> None:
    passages = json.loads((data / "heldout.json").read_text())
    written = [{"context": passage["context"], "self_edits": [HALF]} for passage in passages]
    (tmp_path / "edits.json").write_text(json.dumps(written))
    given = changes(small_folder, data) | {"external__file": str(tmp_path / "edits.json")}
    check_a_restart_and_every_reader(tmp_path / "run", tiny_settings(**given))


def test_in_the_replies_of_a_writer_and_a_judge(
    small_folder: Path, data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openai")

    def reply(body: dict[str, Any]) -> str:
        is_judged = "Student" in body["messages"][-1]["content"]
        return "yes \ud800" if is_judged else f"{HALF} {body['seed']}"

    with FakeEndpoint(reply) as server:
        endpoint = {
            "url": server.url,
            "model": "m",
            "key_env": None,
            "cache": str(tmp_path / "replies.sqlite"),
        }
        given = changes(small_folder, data)
        settings = tiny_settings(
            external__endpoint=endpoint,
            judge__endpoint=endpoint,
            answer__grader="judge",
            **given,
        )
        check_a_restart_and_every_reader(tmp_path / "run", settings)
