"""What settings name can be anybody's: format and parser, grader, judge's prompt, task, prompt,
sampler, update and reward, from a recipe's TOML and from Python.

One small run has all of them replaced; each test looks for what one of them alone can have done.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

import selfedit as se
from selfedit.experiments.knowledge.train import run_knowledge
from tiny_run import LORA

PLACE = se.Place(se.Phase.RL, round=1)
NAMES = {
    "task": "theirs:NoPassage",
    "sampler": "theirs:Constant",
    "edit": {"format": "theirs:Shouting"},
    "answer": {"grader": "theirs:EvenLength"},
    "rl": {"update": "theirs:FirstOnly", "reward": {"signal": "theirs:ByCandidate"}},
}


def values(model: Path, folder: Path) -> dict[str, Any]:
    """Settings of a run of seconds, with everything that can be named."""
    passages = [
        {
            "title": f"Bridge {n}",
            "context": f"The bridge {n} was built by Ada in 17{n}1.",
            "questions": [{"question": "Who built it?", "answers": ["Ada"]}],
        }
        for n in range(3)
    ]
    (folder / "learn.json").write_text(json.dumps(passages[:2]), encoding="utf-8")
    (folder / "held.json").write_text(json.dumps(passages[2:]), encoding="utf-8")
    return {
        "model": str(model),
        "device": "cpu",
        "train": str(folder / "learn.json"),
        "heldout": str(folder / "held.json"),
        **NAMES,
        "edit": {"max_new_tokens": 8, **NAMES["edit"]},
        "answer": {"max_new_tokens": 3, **NAMES["answer"]},
        "inner": {"lora": LORA, "optim": {"epochs": 1, "lr": 0.05}},
        "eval": {"methods": ["base", "own", "seal"]},
        "rl": {
            "contexts": 2,
            "candidates": 2,
            **NAMES["rl"],
            "reward": {"threshold": -1.0, **NAMES["rl"]["reward"]},
            "mstep": {"merge": False},
        },
    }


def from_toml(tree: dict[str, Any], folder: Path) -> se.Settings:
    (folder / "recipe.toml").write_text(tomli_w.dumps(tree), encoding="utf-8")
    return se.read_settings(folder / "recipe.toml")


def from_python(tree: dict[str, Any], folder: Path) -> se.Settings:
    return se.make_settings(tree)


@pytest.fixture(scope="module", params=[from_toml, from_python], ids=["toml", "python"])
def finished(
    request: pytest.FixtureRequest, small_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[se.RunFolder]:
    """A finished run with all of them."""
    folder = tmp_path_factory.mktemp("pluggable")
    settings = request.param(values(small_folder, folder), folder)
    run_knowledge(folder / "run", settings)
    with se.RunFolder.read(folder / "run") as run:
        yield run


def test_a_format_asks_and_reads(finished: se.RunFolder, small_folder: Path) -> None:
    lm = se.load(str(small_folder), device="cpu")
    task = se.KnowledgeTask(lm, se.make_settings({"edit": NAMES["edit"]}))
    context = se.Context("c", "Title", "Text.")
    assert "SHOUT ABOUT Title: Text." in lm.decode(task.prompt(context))
    assert task.parse("again").lines == ("LOUD aga", "LOUD TOO")
    trained = {trial.training.tokens for trial in trials(finished)}
    expected = {
        len(lm.encode(f"Bridge {n}\nLOUD aga")) + 1 for n in range(2)
    }  # the first line, once, and its end
    assert trained == expected, "the task trains on the format's first line alone"


def trials(run: se.RunFolder) -> list[se.Trial]:
    return [trial for trial in run.ledger.trials(PLACE) if trial.training is not None]


def test_a_parser_of_ones_own_keeps_our_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = se.make_settings({"edit": {"format": f"{__name__}:Reversed"}})
    from selfedit.tasks.knowledge.formats import edit_request, format_of

    context = se.Context("c", "Title", "Text.")
    ours = edit_request(context, se.make_settings({}).edit, True)
    assert edit_request(context, settings.edit, True) == ours
    assert format_of(settings.edit).parse("One fact.\nTwo facts.").lines == (
        "Two facts.",
        "One fact.",
    )


def test_a_prompt_of_ones_own_is_told_what_a_self_edit_may_ask() -> None:
    from selfedit.tasks.knowledge.formats import edit_request

    context = se.Context("c", "Title", "Text.")
    directives = {"directives": {"allowed": True}}
    for edit in ({"format": "theirs:Shouting"}, {"prompt": "SHOUT ABOUT {title}: {passage}"}):
        plain = edit_request(context, se.make_settings({"edit": edit}).edit, True)
        request = edit_request(context, se.make_settings({"edit": edit | directives}).edit, True)
        assert "@train" not in plain
        assert request.endswith(f"\n\n{plain}") and "@train" in request
    ours = edit_request(context, se.make_settings({"edit": directives}).edit, True)
    assert ours.count("@train") == request.count("@train"), "ours tells it once"


class Reversed(se.LineFormat):
    """Our implications, last line first."""

    def parse(self, text: str) -> se.ParsedEdit:
        parsed = super().parse(text)
        return se.ParsedEdit(parsed.lines[::-1], parsed.pairs)


def test_a_grader(finished: se.RunFolder) -> None:
    answers = [answer for trial in finished.ledger.trials(PLACE) for answer in trial.answers]
    assert answers and {answer.grader for answer in answers} == {"even"}
    assert all(answer.correct is (len(answer.text) % 2 == 0) for answer in answers)
    assert finished.results()["grader"] == "theirs:EvenLength"


def test_a_sampler(finished: se.RunFolder) -> None:
    assert {row.text for row in finished.ledger.self_edits(PLACE)} == {"again"}


def test_a_reward(finished: se.RunFolder) -> None:
    rows = finished.ledger.rewards(PLACE)
    assert [row.accuracy for row in rows] == [0.0, 1.0, 0.0, 1.0]
    assert [row.kept for row in rows] == [False, True, False, True]


def test_an_update(finished: se.RunFolder) -> None:
    adapter = se.Adapter.load(finished.policy(1) / "adapter")
    assert adapter.spec.rank == 3


def test_a_task(finished: se.RunFolder) -> None:
    assert {trial.training.steps for trial in trials(finished)} == {1}, "one line, one step"


def test_a_task_of_another_kind_is_refused_where_passages_are_needed(
    tmp_path: Path, small_folder: Path
) -> None:
    tree = values(small_folder, tmp_path) | {"task": f"{__name__}:Other"}
    with pytest.raises(se.UsageError, match="not a task of passages"):
        run_knowledge(tmp_path / "run", se.make_settings(tree))
    assert not (tmp_path / "run").exists()


class Other:
    """No task of passages."""


@pytest.mark.parametrize("way", [from_toml, from_python], ids=["toml", "python"])
def test_a_prompt_and_a_judges_prompt(way: Any, tmp_path: Path, small_folder: Path) -> None:
    (tmp_path / "rubric.txt").write_text("Say yes to everything in verse.", encoding="utf-8")
    settings = way(
        {
            "edit": {"prompt": "Sing of {title}: {passage}"},
            "judge": {"prompt": f"@{tmp_path / 'rubric.txt'}", "endpoint": {"model": "m"}},
        },
        tmp_path,
    )
    lm = se.load(str(small_folder), device="cpu")
    prompt = lm.decode(se.KnowledgeTask(lm, settings).prompt(se.Context("c", "Title", "Text.")))
    assert "Sing of Title: Text." in prompt
    assert settings.judge.prompt == "Say yes to everything in verse.", "frozen, not the file's name"


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"edit": {"format": "haiku"}}, r"edit\.format.*choose among implications"),
        ({"answer": {"grader": "a b"}}, r"answer\.grader"),
        ({"task": "os.path"}, r"task: .*neither a name nor"),
        ({"judge": {"prompt": "@/no/such/file"}}, r"judge\.prompt.*cannot be read"),
        ({"judge": {"prompt": "  "}}, r"judge\.prompt.*says nothing"),
    ],
)
def test_what_cannot_be_named_is_refused_with_the_settings(
    tree: dict[str, Any], message: str
) -> None:
    with pytest.raises(se.UsageError, match=message):
        se.make_settings(tree)


def test_naming_is_not_importing() -> None:
    se.make_settings({"task": "no_such_module_at_all:Task", "edit": {"format": "nor_this:One"}})
    assert "no_such_module_at_all" not in sys.modules
