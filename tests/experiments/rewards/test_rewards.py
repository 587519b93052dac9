"""How rewards are compared, by hand; the whole experiment on a tiny model; it goes on where it
stopped.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from fake_endpoint import FakeEndpoint, last_message
from selfedit.config import Settings, read_settings
from selfedit.errors import UsageError
from selfedit.experiments.catalog import find_experiment
from selfedit.experiments.rewards.compare import run_rewards
from selfedit.experiments.rewards.ranking import compare_choices
from selfedit.experiments.rewards.ranking import row as typed_row
from selfedit.report.markdown import results_markdown
from selfedit.results.results import Results
from tiny_run import tiny_settings

RECIPES = Path(__file__).resolve().parents[3] / "recipes"
TRUE = {"a": [0.0, 0.5, 1.0], "b": [0.5, 0.5, 0.0], "c": [0.5, 0.5, 0.5]}


def row(*of):
    return typed_row(*of).as_dict()


def test_a_row_by_hand() -> None:
    same = row("same", TRUE, TRUE, 2.0)
    assert (same["spearman"], same["top1"], same["decided"], same["n"]) == (1.0, 1.0, 2, 3)
    assert same["accuracy"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    turned = {context: [-value for value in values] for context, values in TRUE.items()}
    assert row("turned", turned, TRUE, 0)["spearman"] == -1.0
    assert row("turned", turned, TRUE, 0)["top1"] == 0.0
    flat = row("flat", {context: [1.0, 1.0, 1.0] for context in TRUE}, TRUE, 0)
    assert flat["spearman"] == 0.0
    assert flat["top1"] == pytest.approx((1 / 3 + 2 / 3) / 2)
    unread = row("unread", TRUE | {"a": [math.nan, 1, 2]}, TRUE, 0)
    assert (unread["n"], unread["unreadable"], unread["decided"]) == (2, 1, 1)


def test_a_choice_against_chance_is_paired() -> None:
    (gap,) = [gap.as_dict() for gap in compare_choices({"same": TRUE}, TRUE)]
    assert gap["difference"] == pytest.approx(((1 - 0.5) + (0.5 - 1 / 3) + 0) / 3)
    assert (gap["a"], gap["b"], gap["n"]) == ("same", "random", 3)


def small_paper_run(model: Path, server: FakeEndpoint, folder: Path) -> Settings:
    """The paper's recipe on a tiny model and a judge of ours."""
    small = {
        "rl.contexts": 2,
        "rl.candidates": 2,
        "rl.repeats": 2,
        "inner.optim.epochs": 1,
        "inner.lora.rank": 2,
    }
    short = {
        "edit.max_new_tokens": 10,
        "answer.max_new_tokens": 3,
        "model": str(model),
        "train": "corpus:train",
        "dtype": "float32",
    }
    judge = {"url": server.url, "key_env": None, "cache": str(folder / "kept.sqlite")}
    endpoint = {f"judge.endpoint.{name}": value for name, value in judge.items()}
    return read_settings(RECIPES / "rewards-paper.toml", small | short | endpoint)


def judge_of_both(body: dict) -> str:
    """Verdicts on answers, marks for self-edits."""
    asked = last_message(body)
    if "Student:" in asked:
        return "yes" if sum(asked.encode()) % 2 else "no"
    return json.dumps(
        dict.fromkeys(("length", "diversity", "quality", "correctness"), 1 + len(asked) % 5)
    )


@pytest.mark.server
def test_the_whole_experiment_with_the_papers_settings(tiny_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("openai")
    with FakeEndpoint(judge_of_both) as server:
        settings = small_paper_run(tiny_folder, server, tmp_path)
        results = run_rewards(tmp_path / "run", settings)
        asked = len(server.asked)
        again = run_rewards(tmp_path / "run", settings)
        assert len(server.asked) == asked
    assert again == results == json.loads((tmp_path / "run" / "results.json").read_text())
    names = [each["method"] for each in results["rows"]]
    assert names == [
        "accuracy",
        "loglik",
        "length",
        "proxy",
        "accuracy of one repeat, against the others",
    ]
    assert all(each["n"] == 2 for each in results["rows"])
    assert {gap["b"] for gap in results["paired"]} == {"random"}
    assert results["rows"][0]["seconds"] > results["rows"][2]["seconds"] == 0


def test_results_have_a_page(tiny_folder: Path, tmp_path: Path) -> None:
    settings = tiny_settings(model=str(tiny_folder), device="cpu", rl__repeats=1)
    text = results_markdown(Results.read(run_rewards(tmp_path / "run", settings)))
    assert "| loglik | " in text and "| before RL | " in text


def test_one_self_edit_cannot_be_ranked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two self-edits"):
        run_rewards(tmp_path / "other", tiny_settings(rl__candidates=1))
    assert not (tmp_path / "other").exists()


def test_recipes_are_settings() -> None:
    found = {path.name: read_settings(path) for path in RECIPES.glob("rewards-*.toml")}
    assert set(found) == {"rewards-smoke.toml", "rewards-cpu.toml", "rewards-paper.toml"}
    assert found["rewards-paper.toml"].rl.contexts == 50
    assert find_experiment("rewards").load() is run_rewards
