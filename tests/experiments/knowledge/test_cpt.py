"""Continued pretraining: every method, both kinds of update, stops and kills, and what it is
trained on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from selfedit.config import CptSettings, make_settings
from selfedit.errors import DataError, Interrupted, UsageError
from selfedit.experiments.knowledge import cpt_training
from selfedit.experiments.knowledge.cpt import cpt_contexts, run_cpt
from selfedit.experiments.knowledge.training_documents import cleaned
from selfedit.experiments.regrade import run_table
from selfedit.grading.grader import Grade, Grader
from selfedit.lm.load import load
from selfedit.rl.evaluate import held_out
from selfedit.run.folder import RunFolder
from selfedit.run.interrupt import Interrupt
from tiny_run import MuteGrader, check_graded_again, tiny_settings
from trials import answers_in

ALL = ["base", "passage", "own", "seal", "external", "entigraph", "spa"]


class Stop(Interrupt):
    """Asks to stop at the n-th check."""

    def __init__(self, checks: int) -> None:
        super().__init__()
        self.left = checks

    def check(self) -> None:
        self.left -= 1
        self.requested = self.left < 0
        super().check()


@pytest.fixture(scope="module")
def settings(small_folder: Path, data: Path):
    return tiny_settings(
        model=str(small_folder),
        device="cpu",
        heldout=str(data / "heldout.json"),
        edit__max_new_tokens=12,
        external__file=str(data / "self_edits_gpt4_1.json.gz"),
        cpt__methods=ALL,
        cpt__passages=3,
        cpt__questions=5,
        cpt__samples=2,
        cpt__policy=str(small_folder),
        cpt__full={"optim": {"lr": 0.01, "epochs": 2, "batch_size": 4}, "checkpoint": 1},
    )


@pytest.fixture(scope="module")
def done(settings, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("cpt") / "run"
    return folder, run_cpt(folder, settings)


def test_rows_pairs_and_training(done) -> None:
    _, results = done
    assert [row["method"] for row in results["rows"]] == ALL
    assert results["passages"] == 3 and results["questions"] == 5
    assert len({row["n"] for row in results["rows"]}) == 1
    assert {("passage", "spa"), ("base", "passage")} <= {
        (gap["b"], gap["a"]) for gap in results["paired"]
    }
    documents = {method: runs[0]["documents"] for method, runs in results["training"].items()}
    assert documents["passage"] == 3 and documents["external"] == 3 + 2 * 3
    assert all(runs[0]["steps"] == len(runs[0]["losses"]) for runs in results["training"].values())
    # The external texts are learned: the loss of the last epoch is below that of the first.
    losses = results["training"]["external"][0]["losses"]
    assert sum(losses[-2:]) < sum(losses[:2])
    assert not (done[0] / "training").exists() or not any((done[0] / "training").iterdir())


def test_graded_again_without_a_model(done, monkeypatch) -> None:
    check_graded_again(*done, monkeypatch)


def test_self_edits_are_not_split(done, settings, monkeypatch, tmp_path: Path) -> None:
    seen: dict[str, list[str]] = {}

    def reading(session, name, documents, seed):
        seen[name] = [session.lm.decode(d.ids) for d in documents]
        return [1.0], 1

    monkeypatch.setattr(cpt_training, "_train_full", reading)
    only = settings.model_dump()
    only["cpt"] |= {"methods": ["external"]}
    run_cpt(tmp_path / "run", make_settings(only))
    texts = seen["external-0"]
    assert texts[0] == "Title c0\n1. A long fact 0.\n2. A second long one."
    assert texts[-1].startswith("Title c2\nThe c2 is a thing")


def test_stopped_again_and_again_it_ends_the_same(done, settings, tmp_path: Path) -> None:
    stops, again = 0, None
    for checks in (1, 3, 6, 10, 15, 10_000):
        try:
            again = run_cpt(tmp_path / "parts", settings, interrupt=Stop(checks))
        except Interrupted:
            stops += 1
    assert stops >= 4 and again == done[1]
    assert (tmp_path / "parts" / "results.json").read_bytes() == (
        done[0] / "results.json"
    ).read_bytes()


def test_lora_and_several_seeds(settings, tmp_path: Path) -> None:
    changed = settings.model_dump()
    changed["cpt"] |= {"update": "lora", "methods": ["base", "passage", "external"]}
    changed["eval"] |= {"repeats": 2}
    lm = load(settings.model, device="cpu")
    before = {name: value.clone() for name, value in lm.model.named_parameters()}
    results = run_cpt(tmp_path / "run", make_settings(changed), lm=lm)
    runs = results["training"]["external"]
    assert (
        len(runs) == 2
        and runs[0]["seed"] != runs[1]["seed"]
        and runs[0]["losses"] != runs[1]["losses"]
    )
    assert all(torch.equal(value, before[name]) for name, value in lm.model.named_parameters())
    with RunFolder.read(tmp_path / "run") as run:
        answers = answers_in(run.ledger, held_out("external"))
        said = [[row.text for row in answers if row.repeat == repeat] for repeat in (0, 1)]
        untouched = [row.text for row in answers_in(run.ledger, held_out("base"))]
    assert said[0] != untouched and said[0] != said[1]


def test_answers_without_a_verdict_are_counted_over_all_seeds(
    settings, monkeypatch, tmp_path: Path
) -> None:
    changed = settings.model_dump()
    changed["cpt"] |= {"update": "lora", "methods": ["base", "passage"]}
    changed["eval"] |= {"repeats": 2}
    twice = make_settings(changed)
    question = cpt_contexts(twice)[0].questions[0].text
    monkeypatch.setattr("selfedit.rl.opening.get_grader", lambda *_: MuteGrader(question))
    results = run_cpt(tmp_path / "run", twice)
    assert results["no_verdict"] == {"base": 1, "passage": 2}
    with RunFolder.read(tmp_path / "run") as run:
        assert run_table(run)["no_verdict"] == results["no_verdict"]


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"passages": 9}, DataError, "9 passages asked for"),
        ({"questions": 999}, DataError, "999 questions asked for"),
        ({"policy": None}, UsageError, "no policy"),
        ({"policy": "/nowhere"}, DataError, "no model here"),
        ({"samples": 9}, DataError, "fewer than 9"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(
    settings, tmp_path, changed, error, said
) -> None:
    values = settings.model_dump()
    values["cpt"] |= changed
    with pytest.raises(error, match=said):
        run_cpt(tmp_path / "run", make_settings(values))
    assert not (tmp_path / "run").exists()


def test_unknown_methods_are_named() -> None:
    with pytest.raises(ValueError, match="'magic'"):
        CptSettings(methods=("base", "magic"))


def test_a_models_text_is_cleaned() -> None:
    assert cleaned("a\x1b[2J  \r\nb\u202e\ud800\x00") == "a[2J\nb"


def test_results_are_what_the_file_holds(done) -> None:
    assert json.loads((done[0] / "results.json").read_text())["rows"] == done[1]["rows"]


def test_a_grader_without_any_verdict_is_named_as_the_reason(
    settings, monkeypatch, tmp_path: Path
) -> None:
    class Silent(Grader):
        name = "silent"

        def grade(self, question: str, golds: Sequence[str], answer: str) -> Grade:
            return Grade(None, None, self.name)

    monkeypatch.setattr("selfedit.rl.opening.get_grader", lambda *_: Silent())
    with pytest.raises(DataError, match="verdict"):
        run_cpt(
            tmp_path / "run",
            settings.model_copy(update={"cpt": CptSettings(methods=["base"], passages=3)}),
        )
