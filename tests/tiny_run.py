"""A run in small: made-up passages, and a grader that finds some of a random model's answers right."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from selfedit.config import Settings, make_settings
from selfedit.experiments.regrade import run_table
from selfedit.grading.grader import Grade, Grader
from selfedit.lm.load import LanguageModel
from selfedit.rl.session import Session
from selfedit.run.folder import RunFolder
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context, Question

LORA = {"rank": 2, "alpha": 16, "targets": ["q_proj", "v_proj"]}


class HashGrader(Grader):
    """About two of five answers are right, by the hash of question and answer."""

    name = "hash"

    def grade(self, question: str, golds: Sequence[str], answer: str) -> Grade:
        value = (
            hashlib.sha256(f"{question}\n{answer}".encode("utf-8", "surrogatepass")).digest()[0]
            / 256
        )
        return Grade(value < 0.4, value, self.name)


def check_graded_again(
    folder: Path, results: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished run's table comes out of its ledger, and changes with the grader."""
    with RunFolder.read(folder) as run:
        again = run_table(run, "contains")
        monkeypatch.setattr("selfedit.experiments.regrade.get_grader", lambda *_: HashGrader())
        other = run_table(run, "hash")
    assert again["rows"] == results["rows"] and again["paired"] == results["paired"]
    assert again["contexts"] == results["contexts"]
    assert any(row["accuracy"] > 0 for row in other["rows"]) and other["rows"] != results["rows"]


class MuteGrader(HashGrader):
    """The same, but without a verdict on questions that have ``about`` in them."""

    def __init__(self, about: str = "") -> None:
        self.about = about

    def grade(self, question: str, golds: Sequence[str], answer: str) -> Grade:
        return (
            Grade(None, 0.0, self.name)
            if self.about in question
            else super().grade(question, golds, answer)
        )


def context(name: str, questions: int = 3) -> Context:
    asked = tuple(
        Question(f"{name}/q{n}", f"What is number {n} of {name}?", (f"gold {n}",))
        for n in range(questions)
    )
    return Context(
        name, f"Title {name}", f"The {name} is a thing with a number of parts in it.", asked
    )


def contexts(count: int, start: int = 0) -> list[Context]:
    return [context(f"c{n}") for n in range(start, start + count)]


def tiny_settings(**dotted: Any) -> Settings:
    """Settings of a run of seconds; ``rl__contexts=2`` sets ``rl.contexts``."""
    values: dict[str, Any] = {
        "inner": {"lora": LORA, "optim": {"epochs": 1, "lr": 0.05}, "group": 2},
        "edit": {"max_new_tokens": 10},
        "answer": {"max_new_tokens": 3},
        "rl": {
            "rounds": 2,
            "contexts": 3,
            "candidates": 3,
            "reward": {"threshold": -1.0},
            "mstep": {"lora": LORA, "optim": {"epochs": 1, "lr": 0.05, "batch_size": 2}},
        },
    }
    for name, value in dotted.items():
        *path, last = name.split("__")
        tree = values
        for part in path:
            tree = tree.setdefault(part, {})
        tree[last] = value
    return make_settings(values)


def session_in(folder: Path, lm: LanguageModel, settings: Settings) -> Session:
    run = RunFolder.open(folder, settings.model_dump(mode="json"), kind="knowledge")
    return Session(run, lm, KnowledgeTask(lm, settings), settings, HashGrader())
