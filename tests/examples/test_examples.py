"""Every example runs on a random model and does what its page says; it uses public names only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import selfedit as se
from selfedit.run.records import RewardRow
from tiny_run import LORA, HashGrader, contexts, session_in, tiny_settings

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in EXAMPLES.iterdir():
        monkeypatch.syspath_prepend(folder)


def test_each_has_its_page_and_public_names_only() -> None:
    for folder in EXAMPLES.iterdir():
        assert (folder / "README.md").read_text("utf-8").startswith("# ")
        for path in folder.glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                modules += (
                    [name.name for name in node.names] if isinstance(node, ast.Import) else []
                )
                assert not [module for module in modules if module.startswith("selfedit.")], path
                if (
                    isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name)
                    and node.value.id == "se"
                ):
                    assert node.attr in se.__all__, f"{path.name}: se.{node.attr}"


def test_the_naming_rules(small_folder: Path, tmp_path: Path) -> None:
    from naming_rules import Examples, NamingTask, code_base

    one = code_base(1)
    assert one.questions[0].answers == ("pullOrder",) and "begins with the word pull" in one.text
    values = {
        "model": str(small_folder),
        "device": "cpu",
        "edit": {"max_new_tokens": 12, "temperature": 0.8},
        "answer": {"max_new_tokens": 4},
        "inner": {"lora": LORA, "optim": {"epochs": 1, "lr": 0.05}},
        "rl": {
            "contexts": 2,
            "candidates": 2,
            "reward": {"threshold": -1.0},
            "mstep": {"lora": LORA, "optim": {"epochs": 1}},
        },
        "eval": {"methods": ["base", "rules", "own", "seal", "gold"]},
    }
    settings = se.make_settings(values)
    told = (
        NamingTask,
        [code_base(n) for n in range(3)],
        [code_base(n) for n in range(3, 5)],
        HashGrader(),
    )
    results = se.train(tmp_path / "run", settings, *told, kind="naming-rules")
    assert [row.method for row in results.rows] == ["base", "rules", "own", "seal", "gold"]
    assert all(row.n == 2 for row in results.rows) and results.more["rounds"][0]["kept"] == 2
    assert se.results_of(tmp_path / "run") == results
    again = se.train(tmp_path / "run", settings, *told, kind="naming-rules")
    assert again == results
    lm = se.load(str(small_folder), device="cpu")
    task = NamingTask(lm, settings)
    read = task.parse("1. reads one user -> fetch_user\nnothing\n- checks a price -> `has_price`")
    assert read == Examples((("reads one user", "fetch_user"), ("checks a price", "has_price")))
    assert len(task.inner_loop(one, read, seed=0).sequences) == 3
    with pytest.raises(se.UsageError, match="magic"):
        task.fixed("magic", one)


def test_the_naming_rules_from_the_recipe(small_folder: Path, tmp_path: Path) -> None:
    from selfedit.cli import main

    small = {
        "out": tmp_path / "run",
        "model": small_folder,
        "device": "cpu",
        "heldout": "3-4",
        "train": "0-1",
        "edit.max_new_tokens": 8,
        "answer.max_new_tokens": 4,
        "inner.lora.rank": 2,
        "inner.optim.epochs": 1,
        "rl.contexts": 2,
        "rl.candidates": 2,
        "rl.mstep.lora.rank": 2,
        "eval.methods": "base,rules",
    }
    recipe = EXAMPLES / "naming_rules" / "recipe.toml"
    options = [f"--{name}={value}" for name, value in small.items()]
    assert main(["train", "--recipe", str(recipe), "--quiet", *options]) == 0
    results = se.results_of(tmp_path / "run")
    assert results is not None and results.grader == "exact"
    assert [(row.method, row.n) for row in results.rows] == [("base", 2), ("rules", 2)]
    assert set(results.contexts["base"]) == {"base-3", "base-4"}
    assert (
        main(["train", "--recipe", str(recipe), "--quiet", *options, "--heldout-contexts=3"]) == 2
    )


def test_the_thrifty_reward(small_folder: Path, tmp_path: Path) -> None:
    from thrifty_reward import PRICE

    settings = tiny_settings(rl__rounds=1, rl__reward__signal="thrifty_reward:Thrifty")
    session = session_in(tmp_path / "run", se.load(str(small_folder), device="cpu"), settings)
    with session.run as run:
        from selfedit.rl.rest_em import run_rounds

        run_rounds(session, contexts(3))
        place = se.Place(se.Phase.RL, round=1)
        by_key = {trial.key[:2]: trial for trial in run.ledger.trials(place)}
        rows = run.ledger.rewards(place)
    assert len(rows) == 9
    for row in rows:
        trial, base = by_key[row.context_id, row.candidate], by_key[row.context_id, None]
        right = [answer.correct for answer in trial.answers]
        assert trial.training is not None and trial.training.tokens > 0
        assert row.accuracy == pytest.approx(
            sum(right) / len(right) - PRICE * trial.training.tokens
        )
        assert row.baseline == pytest.approx(
            sum(bool(a.correct) for a in base.answers) / len(base.answers)
        )


def test_the_advantage_update(small_folder: Path, tmp_path: Path) -> None:
    from advantage_update import advantages

    place = se.Place(se.Phase.RL, round=1)
    rewards = [
        RewardRow(
            place=place,
            context_id=c,
            candidate=n,
            reward=value,
            accuracy=value,
            baseline=0,
            kept=False,
        )
        for c, values in {"a": [1.0, 0.5, 0.0], "b": [0.25]}.items()
        for n, value in enumerate(values)
    ]
    assert advantages(se.ScoredEdits(1, {}, [], rewards)) == [0.75, 0.0, -0.75, 0.0]
    settings = tiny_settings(
        rl__rounds=1, rl__update="advantage_update:AdvantageWeighted", rl__mstep__merge=False
    )
    lm = se.load(str(small_folder), device="cpu")
    session = session_in(tmp_path / "run", lm, settings)
    with session.run as run:
        from selfedit.rl.rest_em import run_rounds

        rounds, policy = run_rounds(session, contexts(3))
        earned = {row.reward for row in run.ledger.rewards(place)}
    assert len(earned) > 1 and rounds[0].policy is not None and policy is not None
    assert any(float(b.abs().max()) > 0 for _, b in policy.tensors.values())
