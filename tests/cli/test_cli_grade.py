"""``selfedit grade``, and a run graded again by a judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fake_endpoint import FakeEndpoint, last_message
from selfedit.grading.text import normalise
from selfedit.rl.evaluate import held_out
from selfedit.run.folder import RunFolder
from trials import answers_in

ROWS = [
    {"question": "Where?", "gold": "Paris", "pred": "In Paris.", "votes_yes": 2, "votes": 3},
    {"question": "Where?", "gold": "Paris", "pred": "In Lyon.", "votes_yes": 0, "votes": 1},
    {
        "question": "Who built it?",
        "gold": "Orda Mirane",
        "pred": "Mirane did",
        "votes_yes": 1,
        "votes": 1,
    },
    {"question": "When?", "gold": "1412", "pred": "1413", "votes_yes": 0, "votes": 1},
]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    return path


def test_agreement_of_a_file(run, labels: Path) -> None:
    done = run("grade", labels, "--grader", "contains", "--json")
    found = json.loads(done.out)
    assert (done.code, found["agreement"], found["bias"], found["n"]) == (0, 0.75, -0.25, 4)
    assert found["groups"] == 3
    assert found["agreement_se"] > 0
    assert found["kappa"] == pytest.approx(0.5)
    plain = run("grade", labels)
    assert "kappa" in plain.out
    assert "4" in plain.out
    assert json.loads(run("grade", labels, "--json").out)["grader"] == "calibrated"


def test_wrong_files_and_graders(run, labels: Path, tmp_path: Path) -> None:
    assert run("grade", tmp_path / "none.jsonl").code == 3
    assert run("grade", labels, "--grader", "gut").code == 2
    assert run("grade", labels, "--grader", "judge").code == 2
    (tmp_path / "bad.jsonl").write_text('{"question": "q"}')
    done = run("grade", tmp_path / "bad.jsonl")
    assert done.code == 3
    assert "line 1" in done.err


def asking(server: FakeEndpoint, folder: Path) -> list[str]:
    pytest.importorskip("openai")
    options = {"url": server.url, "model": "m", "key_env": "none", "cache": folder / "kept.sqlite"}
    prices = {"price_in": 1, "price_out": 2}
    return [
        "--grader",
        "judge",
        *[f"--judge.endpoint.{name}={value}" for name, value in (options | prices).items()],
    ]


@pytest.mark.server
def test_a_judge_is_held_against_labels(run, labels: Path, tmp_path: Path) -> None:
    def say(body: dict) -> str:
        return (
            "perhaps"
            if "1413" in last_message(body)
            else "Yes"
            if "Paris." in last_message(body)
            else "no"
        )

    with FakeEndpoint(say) as server:
        found = json.loads(run("grade", labels, *asking(server, tmp_path), "--json").out)
        assert (found["n"], found["no_verdict"], found["false_no"]) == (3, 1, 1)
        assert found["judge"]["unreadable"] == 1
        assert found["judge"]["bill"]["spent"] > 0
        again = json.loads(run("grade", labels, *asking(server, tmp_path), "--json").out)
        assert again["judge"]["bill"]["spent"] == 0
        assert again["judge"]["bill"]["cost"] == found["judge"]["bill"]["cost"]
        assert "spent now: 0.0000" in run("grade", labels, *asking(server, tmp_path)).err
    assert len(server.asked) == 4


@pytest.mark.server
def test_a_finished_run_is_graded_again_by_a_judge_without_a_model(
    run, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("selfedit.lm.load.load", load)

    def say(body: dict) -> str:
        asked = last_message(body)
        return "who knows" if 'Reference: "5"' in asked else "no" if "arches" in asked else "yes"

    with FakeEndpoint(say) as server:
        words = ("evaluate", finished, *asking(server, tmp_path), "--json")
        found = json.loads(run(*words).out)
        asked = len(server.asked)
        assert json.loads(run(*words).out)["rows"] == found["rows"]
        assert len(server.asked) == asked > 0
    with RunFolder.read(finished) as folder:
        rows = {method: answers_in(folder.ledger, held_out(method)) for method in found["contexts"]}
    assert len(rows) == 5
    for method, answers in rows.items():
        right: dict[str, list[bool]] = {}
        unclear = 0
        for answer in answers:
            said = bool(normalise(answer.text))
            arches = answer.question_id in {row.question_id for row in answers[1::2]}
            if said and arches and "quell" in answer.context_id:
                unclear += 1
            else:
                right.setdefault(answer.context_id, []).append(said and not arches)
        assert found["contexts"][method] == {name: sum(of) / len(of) for name, of in right.items()}
        assert found["no_verdict"].get(method, 0) == unclear
    assert found["judge"]["unreadable"] > 0
