"""Texts and weights from before and after RL: every cell, stops, and that the cells are what they say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from selfedit.config import Settings
from selfedit.errors import DataError, Interrupted, UsageError
from selfedit.experiments.knowledge.crossed import METHODS, run_crossed
from selfedit.experiments.regrade import run_table
from selfedit.lm.load import load
from selfedit.rl.evaluate import held_out
from selfedit.run.folder import RunFolder
from selfedit.run.interrupt import Interrupt
from selfedit.run.records import Phase, Place
from tiny_run import tiny_settings


@pytest.fixture(scope="module")
def policy(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with other weights."""
    folder = Path(shutil.copytree(small_folder, tmp_path_factory.mktemp("policy") / "model"))
    weights = load_file(folder / "model.safetensors")
    changed = {name: value * 1.3 for name, value in weights.items()}
    save_file(changed, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture
def settings(small_folder: Path, policy: Path, data: Path) -> Settings:
    return tiny_settings(
        model=str(small_folder),
        device="cpu",
        heldout=str(data / "heldout.json"),
        heldout_contexts=2,
        edit__max_new_tokens=24,
        eval__samples=2,
        eval__repeats=1,
        crossed__policy=str(policy),
    )


def stored(folder: Path) -> dict[str, list]:
    with RunFolder.read(folder) as run:
        return {method: run.ledger.trials(held_out(method)) for method in METHODS}


def test_every_cell_is_measured(settings: Settings, tmp_path: Path) -> None:
    results = run_crossed(tmp_path / "run", settings)
    assert set(results["second"]["contexts"]) == set(results["answer_words"]) == set(METHODS)
    assert results["canary"][0]["method"] == "canary"
    with RunFolder.read(tmp_path / "run") as run:
        again = run_table(run, "concise")
    assert again["rows"] == results["rows"] and again["paired"] == results["paired"]
    assert [row["method"] for row in results["rows"]] == list(METHODS)
    assert all(row["n"] == 2 for row in results["rows"])
    pairs = {(pair["b"], pair["a"]) for pair in results["paired"]}
    assert ("before-into-before", "after-into-before") in pairs
    assert ("before-into-before", "before-into-after") in pairs
    trials = stored(tmp_path / "run")
    losses = {
        method: [trial.training.final_loss for trial in of if trial.training]
        for method, of in trials.items()
    }
    cells = [name for name in METHODS if "into" in name]
    assert all(len(losses[name]) == 4 for name in cells)
    assert len({tuple(losses[name]) for name in cells}) == 4, "four different trainings"


def test_the_texts_of_a_writer_are_the_same_in_both_models(
    settings: Settings, tmp_path: Path
) -> None:
    run_crossed(tmp_path / "run", settings)
    with RunFolder.read(tmp_path / "run") as run:
        written = {m: run.ledger.self_edits(Place(Phase.WRITE, m)) for m in ("before", "after")}
        for writer, rows in written.items():
            texts = [row.text for row in rows]
            for learner in ("before", "after"):
                place = held_out(f"{writer}-into-{learner}")
                assert [row.text for row in run.ledger.self_edits(place)] == texts
    assert [r.text for r in written["before"]] != [r.text for r in written["after"]]


def test_a_cell_is_what_its_model_alone_would_do(
    settings: Settings, policy: Path, tmp_path: Path
) -> None:
    """after-into-after equals before-into-before of a run that knows the policy only."""
    run_crossed(tmp_path / "run", settings)
    alone = settings.model_copy(update={"model": str(policy)})
    run_crossed(tmp_path / "alone", alone)
    crossed, other = stored(tmp_path / "run"), stored(tmp_path / "alone")
    texts = [answer.text for trial in crossed["base-after"] for answer in trial.answers]
    assert texts == [a.text for trial in other["base-before"] for a in trial.answers]


def test_a_stopped_run_goes_on_to_the_same_results(settings: Settings, tmp_path: Path) -> None:
    whole = run_crossed(tmp_path / "whole", settings)

    class Stop(Interrupt):
        left = 3

        def check(self) -> None:
            self.left -= 1
            self.requested = self.left < 0
            super().check()

    stops, again = 0, None
    for _ in range(20):
        try:
            again = run_crossed(tmp_path / "run", settings, interrupt=Stop())
            break
        except Interrupted:
            stops += 1
    assert stops > 1 and again == whole
    assert (tmp_path / "run/results.json").read_bytes() == (
        tmp_path / "whole/results.json"
    ).read_bytes()


def test_what_cannot_be_used_is_named(settings: Settings, tmp_path: Path) -> None:
    without = settings.model_copy(
        update={"crossed": settings.crossed.model_copy(update={"policy": None})}
    )
    with pytest.raises(UsageError, match="no model after RL"):
        run_crossed(tmp_path / "run", without)
    empty = settings.crossed.model_copy(update={"policy": str(tmp_path)})
    with pytest.raises(DataError, match="no model here"):
        run_crossed(tmp_path / "run", settings.model_copy(update={"crossed": empty}))
    assert not (tmp_path / "run").exists()


def test_the_models_weights_are_used_not_only_named(small_folder: Path, policy: Path) -> None:
    before, after = load(str(small_folder), device="cpu"), load(str(policy), device="cpu")
    assert before.fingerprint != after.fingerprint
