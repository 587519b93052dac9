"""What learning documents comes to, before it starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selfedit.cli import main
from selfedit.documents.estimate import (
    estimate_documents,
    measured_prices,
    needed_memory,
    phase_percents,
)
from selfedit.documents.outcome import PHASES, PhaseBar
from selfedit.documents.recipe import document_settings
from selfedit.rl.work import SECONDS
from selfedit.run.progress import SILENT
from selfedit.tasks.knowledge.contexts import load_contexts

HANDBOOK = "examples/handbook/workshop.md"
LONG = document_settings({"inner.optim.epochs": 30})


def parts(**changed: object) -> dict[str, float]:
    overrides = {name.replace("__", "."): value for name, value in changed.items()}
    work = estimate_documents(load_contexts(HANDBOOK), document_settings(overrides), 1)
    return {part.name: part.seconds for part in work.parts}


def test_twice_the_epochs_take_twice_the_training_and_nothing_else() -> None:
    one, two = parts(inner__optim__epochs=2), parts(inner__optim__epochs=4)
    assert two["training"] == pytest.approx(2 * one["training"])
    assert two["self-edits: writing"] == one["self-edits: writing"]
    assert "own texts" not in parts(retention__remedies=())


def test_the_price_of_every_unit_is_measured(tiny_lm, tiny_folder: Path) -> None:
    settings = document_settings({"model": str(tiny_folder), "device": "cpu"})
    contexts = load_contexts(HANDBOOK)
    prices = measured_prices(tiny_lm, settings, contexts)
    assert prices.keys() == SECONDS.keys()
    assert all(0 < prices[name] < 1 for name in ("trained", "read", "written", "begun", "answered"))
    weights = sum(p.numel() * p.element_size() for p in tiny_lm.model.parameters())
    assert needed_memory(tiny_lm, settings, contexts) > weights


def test_dry_run_says_so_and_makes_no_folder(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["adapt", str(tiny_folder), HANDBOOK, "-o", str(tmp_path / "out"), "--dry-run"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passages"] == 9 and found["fetched_bytes"] == 0 and found["memory_bytes"] > 0
    assert not (tmp_path / "out").exists()
    absent = ["adapt", "smollm2-1.7b", HANDBOOK, "-o", str(tmp_path / "out"), "--dry-run"]
    assert main(absent) == 0
    done = capsys.readouterr()
    assert "3,423 MB will be fetched" in done.err and "training" in done.out


@pytest.mark.parametrize("document", [HANDBOOK, "corpus:choose"])
@pytest.mark.parametrize("changed", [{}, {"retention.remedies": ()}, {"documents.facts": 0}])
def test_the_bar_is_as_long_as_the_parts(document: str, changed: dict[str, object]) -> None:
    """Every part of the estimate goes by in a phase, and the phases are the whole."""
    contexts, settings = load_contexts(document), document_settings(changed)
    percents = phase_percents(contexts, settings, 1)
    assert sum(percents) == 100 and len(percents) == len(PHASES)
    longer = phase_percents(contexts, settings.model_copy(update={"inner": LONG.inner}), 1)
    training = PHASES.index("training")
    assert longer[training] > percents[training], "more epochs: training is more of the whole"


def test_phases_end_in_their_order() -> None:
    bar = PhaseBar(SILENT.task("", total=100), [10, 20, 5, 15, 30, 20])
    bar.finish("questions")
    with pytest.raises(ValueError, match="material ends before before"):
        bar.finish("material")
