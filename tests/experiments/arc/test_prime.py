"""Priming: done once for equal models and settings, never for others."""

import pytest

from selfedit.errors import Interrupted
from selfedit.experiments.arc import prime
from selfedit.experiments.arc.few_shot import run_few_shot
from selfedit.experiments.arc.prime import primed_model, primed_record
from selfedit.lm.load import load
from selfedit.run.interrupt import Interrupt
from tiny_arc import arc_settings, small_task, write_tasks


@pytest.fixture
def settings(small_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SELFEDIT_CACHE", str(tmp_path / "cache"))
    train = write_tasks(tmp_path / "train.json", [small_task("mirror", 1)])
    heldout = write_tasks(tmp_path / "heldout.json", [small_task("double", 3)])
    small = {"rank": 4, "alpha": 8, "targets": ["q_proj"]}
    return arc_settings(
        small_folder, train, heldout, rl__rounds=0, arc__prime={"tokens": 1500, "lora": small}
    )


def changed(settings, **prime_settings):
    arc = settings.arc
    primed = arc.prime.model_copy(update=prime_settings)
    return settings.model_copy(update={"arc": arc.model_copy(update={"prime": primed})})


def test_it_is_cached_by_content(settings, small_folder, monkeypatch):
    folder = primed_model(settings)
    record = primed_record(folder)
    assert 0 < record["tokens"] <= 1500 and record["last_loss"] < record["first_loss"]
    assert (
        load(str(folder), device="cpu").fingerprint
        != load(str(small_folder), device="cpu").fingerprint
    )
    monkeypatch.setattr(prime, "adapt", lambda *_: pytest.fail("primed again"))
    assert primed_model(settings) == folder
    monkeypatch.undo()


def test_other_settings_give_another_model(settings):
    one = primed_model(settings)
    other = primed_model(changed(settings, seed=1))
    assert one != other and primed_record(one)["settings"]["seed"] == 0


def test_a_stopped_priming_leaves_nothing(settings, tmp_path):
    class Stop(Interrupt):
        def check(self):
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        primed_model(settings, interrupt=Stop())
    assert not list((tmp_path / "cache").rglob("primed.json"))
    assert primed_record(primed_model(settings))["steps"] > 0


def test_a_run_stands_on_the_primed_model_and_says_so(settings, tmp_path):
    results = run_few_shot(tmp_path / "run", settings)
    assert "primed on 1500 tokens" in " ".join(results["notes"])
    assert (
        results["model"]["fingerprint"]
        == load(str(primed_model(settings)), device="cpu").fingerprint
    )
