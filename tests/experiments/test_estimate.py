"""``--dry-run``: what it counts is what a run then does."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from selfedit.cli.app import main
from selfedit.config import read_settings
from selfedit.errors import UsageError
from selfedit.experiments.demo import LADDER
from selfedit.experiments.estimate import estimate
from selfedit.experiments.knowledge.cpt import run_cpt
from selfedit.experiments.knowledge.train import run_knowledge
from selfedit.run.folder import RunFolder
from selfedit.sampling.local import LocalSampler
from tiny_run import tiny_settings

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
TWO_CORES = (
    "crossed crossed-cpu",
    "cpt cpt-cpu",
    "continual continual-rl-cpu",
    "train knowledge-cpu",
)


def test_a_run_does_what_was_counted(
    small_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(
        model=str(small_folder),
        device="cpu",
        train=str(data / "train.json"),
        heldout=str(data / "heldout.json"),
        eval__methods=["base", "passage", "own", "seal", "gold"],
        eval__samples=2,
        rl__rounds=1,
        rl__movement__prompts=2,
    )
    written: list[int] = []
    generate = LocalSampler.generate

    def counted(self, prompts, *args, **options):
        if options["max_new_tokens"] == settings.edit.max_new_tokens:
            written.append(len(prompts))
        return generate(self, prompts, *args, **options)

    monkeypatch.setattr(LocalSampler, "generate", counted)
    parts = estimate("train", settings).parts
    run_knowledge(tmp_path / "run", settings)
    counts = Counter[str]()
    for part in parts:
        counts[part.unit] += part.count
    with RunFolder.read(tmp_path / "run") as run:
        trials = [trial for at in run.ledger.places() for trial in run.ledger.trials(at)]
    assert counts["inner loops"] == sum(trial.candidate is not None for trial in trials)
    assert counts["texts"] == sum(written), "those that show whether the policy moved included"


def test_the_tokens_of_continued_pretraining_are_about_right(
    small_folder: Path, data: Path, tmp_path: Path
) -> None:
    settings = tiny_settings(
        model=str(small_folder),
        device="cpu",
        heldout=str(data / "heldout.json"),
        cpt__methods=["base", "passage", "own"],
        cpt__samples=2,
    )
    found = run_cpt(tmp_path / "run", settings)
    counted = {part.name: part.count for part in estimate("cpt", settings).parts}
    assert counted["own: writing"] == found["self_edits"][0]["n"]
    assert counted["base: answering"] == found["questions"]


def test_every_size_of_the_demo_counts_whether_the_policy_moved() -> None:
    for size in LADDER[-3:]:
        settings = read_settings(overrides={"rl.rounds": size.rounds, "rl.contexts": size.contexts})
        moved = [p for p in estimate("train", settings).parts if "did the policy move" in p.name]
        assert [part.count for part in moved] == [48] * size.rounds, "16 prompts, 3 texts each"


@pytest.mark.parametrize("named", TWO_CORES)
def test_recipes_for_two_cores_are_planned_for_forty_minutes(named: str) -> None:
    experiment, recipe = named.split()
    assert estimate(experiment, read_settings(RECIPES / f"{recipe}.toml")).seconds <= 40 * 60


def test_the_verb_prints_it_and_says_what_is_lacking(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(RECIPES / "crossed-cpu.toml")
    words = ["experiment", "crossed", "--recipe", recipe, "--crossed.policy", "/nowhere"]
    assert main([*words, "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert "four cells" in printed.out and "it cannot start yet: there is no model" in printed.err
    assert main([*words, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seconds"] > 600


def test_what_has_no_estimate_is_refused() -> None:
    with pytest.raises(UsageError, match="no estimate of few-shot"):
        estimate("few-shot", read_settings())
