"""Continual edits on a two-layer model: the matrix, the remedies, stopping and going on, the
published numbers.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from selfedit.config import REMEDY_CHOICE, make_settings, read_settings
from selfedit.errors import DataError, Interrupted, RunFolderError, UsageError
from selfedit.experiments.continual.measures import ratio_of_means
from selfedit.experiments.continual.plan import plan_sequences
from selfedit.experiments.continual.published import published
from selfedit.experiments.continual.run import run_continual
from selfedit.lm.load import load
from selfedit.lm.lora import Adapter
from selfedit.lm.stack import stack
from selfedit.report.folder import write_report
from selfedit.report.markdown import results_markdown
from selfedit.results.results import Results
from selfedit.retention.facts import everyday_facts
from selfedit.rl import opening
from selfedit.run.folder import RunFolder
from stopping import Stop
from tiny_run import LORA, HashGrader, MuteGrader, contexts

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.fixture(autouse=True)
def graded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "get_grader", lambda *_: HashGrader())


@pytest.fixture(scope="module")
def small_lm(small_folder: Path):
    return load(str(small_folder), device="cpu")


@pytest.fixture
def small(tmp_path: Path, small_folder: Path):
    """Settings of a run of two sequences of three passages, two of them together at a time."""

    def made(**changed):
        for name, passages in (("train", contexts(4)), ("heldout", contexts(2, start=8))):
            forms = [
                {
                    "title": c.title,
                    "context": c.text,
                    "id": c.id,
                    "questions": [{"question": q.text, "answers": q.answers} for q in c.questions],
                }
                for c in passages
            ]
            (tmp_path / f"{name}.json").write_text(json.dumps(forms))
        values = {
            "model": str(small_folder),
            "device": "cpu",
            "train": str(tmp_path / "train.json"),
            "heldout": str(tmp_path / "heldout.json"),
            "edit": {"max_new_tokens": 10},
            "answer": {"max_new_tokens": 3},
            "inner": {"lora": LORA, "optim": {"epochs": 2, "lr": 0.02}},
            "continual": (
                {"sequences": 2, "steps": 3, "together": 2, "probes": 1, "facts": False}
                | changed.pop("continual", {})
            ),
        }
        return make_settings(values | changed)

    return made


def test_every_remedy_gives_a_whole_matrix(small, small_lm, tmp_path: Path) -> None:
    ways = ["none", *REMEDY_CHOICE.names(), "replay+kl+distil+gate+orthogonal"]
    settings = small(continual={"sequences": 2, "steps": 2, "probes": 1, "compare": ways})
    found = run_continual(tmp_path / "run", settings, lm=small_lm)
    assert set(found["ways"]) == set(ways)
    for way in found["ways"].values():
        assert (
            [len(row) for row in way["matrix"]]
            == [2, 1, 2]
            == [len(row) for row in way["matrix_se"]]
        )
        assert [row["edits"] for row in way["general_loss"]["by_step"]] == [0, 1, 2]
        assert len(way["never_edited"]) == 3
    assert found["matrix"] == found["ways"]["none"]["matrix"]
    assert found["ways"]["none"]["general_loss"]["rise"] != 0
    # Merging changes nothing at the first step, so the ways that differ only from the second on
    # agree there.
    for same in ("replay", "orthogonal"):
        assert found["ways"][same]["matrix"][1] == found["matrix"][1]
        losses, other = (w["general_loss"]["by_step"] for w in (found, found["ways"][same]))
        assert losses[1] == other[1] and losses[2] != other[2]
    assert found["ways"]["gate"]["gate"]["edits"] == 4
    assert 0 <= found["ways"]["library"]["routed_right"]["mean"] <= 1
    assert found["ways"]["library"]["general_loss"]["rise"] == pytest.approx(0, abs=0.05)
    assert [row["method"] for row in found["rows"]] == ["unedited", *ways]
    assert all(gap["n"] == 2 for gap in found["paired"])
    lines = list(csv.DictReader((tmp_path / "run" / "matrix.csv").read_text().splitlines()))
    page = results_markdown(Results.read(found))
    assert (
        "Published: SEAL, arXiv 2506.10943" in page
        and "replay: accuracy % (se) on each passage" in page
    )
    written = write_report(tmp_path / "run")
    assert [path.name for path in written] == ["index.html", "matrix.png"]
    assert "everyday loss" in written[0].read_text()
    cell = next(r for r in lines if (r["way"], r["edits"], r["passage"]) == ("kl", "2", "1"))
    assert float(cell["accuracy"]) == found["ways"]["kl"]["matrix"][2][0]


def test_sequences_without_a_verdict_are_left_out(
    small, small_lm, tmp_path: Path, monkeypatch
) -> None:
    settings = small(continual={"sequences": 4, "steps": 2, "probes": 2})
    whole = run_continual(tmp_path / "whole", settings, lm=small_lm)
    lost = whole["sequences"][0][0]
    counted = [sequence for sequence in whole["sequences"] if lost not in sequence]
    assert 0 < len(counted) < 4
    monkeypatch.setattr(opening, "get_grader", lambda *_: MuteGrader(f"of {lost}?"))
    found = run_continual(tmp_path / "some", settings, lm=small_lm)
    assert found["sequences"] == counted and found["without_verdict"] == 4 - len(counted)
    assert found["rows"][0]["n"] == len(counted)
    monkeypatch.setattr(opening, "get_grader", lambda *_: MuteGrader())
    with pytest.raises(DataError, match="no sequence has a verdict"):
        run_continual(tmp_path / "none", settings, lm=small_lm)


def test_a_probe_without_a_verdict_is_left_out(
    small, small_lm, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(opening, "get_grader", lambda *_: MuteGrader("of c8?"))
    found = run_continual(
        tmp_path / "one", small(continual={"sequences": 1, "steps": 1, "probes": 2}), lm=small_lm
    )
    assert found["without_verdict"] == 0 and len(found["ways"]["none"]["never_edited"]) == 2
    found = run_continual(
        tmp_path / "none", small(continual={"sequences": 1, "steps": 1, "probes": 1}), lm=small_lm
    )
    assert found["ways"]["none"]["never_edited"] is None


def test_a_stopped_run_rebuilds_what_was_merged(small, small_lm, tmp_path: Path) -> None:
    settings = small(retention={"remedies": ["replay", "gate"]})
    whole = run_continual(tmp_path / "whole", settings, lm=small_lm)
    assert not list((tmp_path / "whole" / "adapters").rglob("*.safetensors"))
    stops, checks = 0, 1
    while True:
        try:
            again = run_continual(tmp_path / "parts", settings, lm=small_lm, interrupt=Stop(checks))
            break
        except Interrupted:
            stops, checks = stops + 1, checks + 2
    assert stops >= 3
    assert again == whole
    for name in ("results.json", "matrix.csv"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with RunFolder.read(tmp_path / "parts") as one, RunFolder.read(tmp_path / "whole") as other:
        assert [(s.name, s.payload_json) for s in one.ledger.steps()] == [
            (s.name, s.payload_json) for s in other.ledger.steps()
        ]


def test_sequences_together_are_sequences_alone(small, small_lm, tmp_path: Path) -> None:
    both = run_continual(tmp_path / "both", small(), lm=small_lm)
    alone = run_continual(tmp_path / "alone", small(continual={"together": 1}), lm=small_lm)
    assert both["matrix"] == alone["matrix"]
    assert both["general_loss"]["after"] == pytest.approx(alone["general_loss"]["after"], rel=1e-5)


def test_kept_adapters_add_up_to_the_measured_model(small, small_lm, tmp_path: Path) -> None:
    from selfedit.lm.perplexity import mean_losses
    from selfedit.retention.general import measured_texts

    settings = small(continual={"keep_adapters": True, "sequences": 1})
    found = run_continual(tmp_path / "run", settings, lm=small_lm)
    folders = [
        tmp_path / "run" / "adapters" / "none" / "sequence-0" / f"step-{n}" for n in (1, 2, 3)
    ]
    merged = stack([Adapter.load(folder) for folder in folders])
    losses = mean_losses(small_lm, measured_texts(), merged)
    assert found["general_loss"]["after"] == pytest.approx(sum(losses) / len(losses), rel=1e-6)


def test_a_missing_adapter_is_named(small, small_lm, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run_continual(tmp_path / "run", small(), lm=small_lm, interrupt=Stop(6))
    files = sorted((tmp_path / "run" / "adapters").rglob("*.safetensors"))
    files[0].write_bytes(files[0].read_bytes() + b" ")
    with pytest.raises(RunFolderError, match="adapter of a finished step"):
        run_continual(tmp_path / "run", small(), lm=small_lm)


def test_the_plan_deals_evenly_and_never_twice_in_a_sequence() -> None:
    passages = contexts(5)
    plan = plan_sequences(passages, 4, 3, seed=1)
    assert all(len({c.id for c in sequence}) == 3 for sequence in plan)
    counts = [sum(c.id == p.id for sequence in plan for c in sequence) for p in passages]
    assert max(counts) - min(counts) <= 1
    assert plan[:2] == plan_sequences(passages, 2, 3, seed=1)
    assert plan != plan_sequences(passages, 4, 3, seed=2)
    with pytest.raises(DataError, match="6 steps, there are 5"):
        plan_sequences(passages, 1, 6, seed=1)


def test_the_published_matrix_says_what_the_paper_says() -> None:
    found = published()
    assert round(100 * found["final"], 1) == 24.7 or round(100 * found["final"], 1) == 24.8
    assert round(100 * found["unedited"], 1) == 30.8
    assert found["final"] < found["unedited"] < found["just_edited"]


def test_a_ratio_of_means_and_its_error() -> None:
    assert ratio_of_means([0.5, 0.5], [1.0, 1.0]) == {"mean": 0.5, "se": 0.0, "n": 2}
    # By hand: ratio 1.5/2; residuals 0.5 − 0.75 and 1 − 0.75; √(0.125 / 1 / 2) over a mean of 1.
    assert ratio_of_means([0.5, 1.0], [1.0, 1.0]) == {
        "mean": 0.75,
        "se": pytest.approx(0.25),
        "n": 2,
    }
    assert ratio_of_means([0.0], [0.0])["mean"] is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"workers": 2}, "in this process"),
        ({"continual": {"probes": 9}}, "9 passages that are never edited"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(
    small, tmp_path: Path, changed, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        run_continual(tmp_path / "run", small(**changed))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("named", ["magic", "replay+replay", "library+replay"])
def test_remedies_that_do_not_go_together(named: str) -> None:
    with pytest.raises(UsageError, match=r"continual\.compare"):
        make_settings({"continual": {"compare": [named]}})


@pytest.mark.parametrize("name", ["continual-smoke", "continual-cpu", "continual-paper"])
def test_every_step_of_every_recipe_runs(
    name: str, small, small_lm, small_folder, tmp_path: Path
) -> None:
    """The recipe's ways and remedies on the two-layer model, with its sizes brought down."""
    recipe = read_settings(RECIPES / f"{name}.toml")
    short = small(
        continual={"sequences": 1, "steps": 2, "probes": 1, "compare": recipe.continual.compare}
    )
    inner = recipe.inner.model_copy(
        update={"optim": recipe.inner.optim.model_copy(update={"epochs": 1})}
    )
    settings = recipe.model_copy(
        update={
            "model": str(small_folder),
            "train": short.train,
            "heldout": short.heldout,
            "continual": short.continual,
            "answer": short.answer,
            "inner": inner.model_copy(update={"lora": short.inner.lora}),
            "edit": recipe.edit.model_copy(update={"max_new_tokens": 10}),
        }
    )
    found = run_continual(tmp_path / "run", settings, lm=small_lm)
    assert set(found["ways"]) == set(recipe.continual.compare or ("none",))


def test_a_model_after_rl_is_a_row_of_its_own(
    small, small_lm, small_folder: Path, tmp_path: Path
) -> None:
    policy = Path(shutil.copytree(small_folder, tmp_path / "policy"))
    weights = load_file(policy / "model.safetensors")
    changed = {name: value * 1.3 for name, value in weights.items()}
    save_file(changed, policy / "model.safetensors", {"format": "pt"})
    sizes = {"sequences": 2, "steps": 2, "compare": ["none", "kl"]}
    chosen = small(continual=sizes | {"policies": [f"seal={policy}"]})
    found = run_continual(tmp_path / "run", chosen, lm=small_lm)
    assert [row["method"] for row in found["rows"]] == ["unedited", "none", "kl", "seal"]
    alone = run_continual(tmp_path / "alone", small(continual=sizes), lm=small_lm)
    assert found["ways"]["kl"] == alone["ways"]["kl"], "the session has its first weights again"
    # The row is what the same experiment says of that model.
    its_own = chosen.model_copy(
        update={
            "model": str(policy),
            "continual": chosen.continual.model_copy(update={"policies": (), "compare": ()}),
        }
    )
    assert run_continual(tmp_path / "own", its_own)["ways"]["none"] == found["ways"]["seal"]
    assert found["ways"]["seal"] != found["ways"]["none"]
    with pytest.raises(UsageError, match="give the policy another name"):
        small(continual={"compare": ["kl"], "policies": [f"kl={policy}"]})
    with pytest.raises(UsageError, match="write NAME=FOLDER"):
        small(continual={"policies": [str(policy)]})
    with pytest.raises(DataError, match="no model here"):
        run_continual(tmp_path / "no", small(continual={"policies": ["seal=/nowhere"]}))


def test_what_is_never_edited_is_what_the_unedited_model_knows(
    small, small_lm, tmp_path: Path
) -> None:
    settings = small(heldout=None, continual={"facts": True, "steps": 2})
    found = run_continual(tmp_path / "run", settings, lm=small_lm)
    never = found["ways"]["none"]["never_edited"]
    assert never[0]["mean"] == 1.0, "all of it is known before the first edit"
    assert any(row["mean"] < 1.0 for row in never[1:]), "and some is lost"
    with RunFolder.read(tmp_path / "run") as opened:
        right = (opened.ledger.step("known facts") or {})["right"]
    every = {q.id for fact in everyday_facts() for q in fact.questions}
    assert 0 < len(right) < len(every) and set(right) < every


def test_the_facts_are_questions_with_short_answers_each_once() -> None:
    questions = [q for fact in everyday_facts() for q in fact.questions]
    assert len(questions) == len({q.text for q in questions}) == 50
    assert all(q.text.endswith("?") and q.answers and len(q.answers[0]) < 30 for q in questions)


def test_the_page_states_the_recipes_settings() -> None:
    page = (RECIPES / "continual.md").read_text("utf-8")
    for name, column in (("continual-cpu", 2), ("continual-paper", 1)):
        recipe = read_settings(RECIPES / f"{name}.toml")
        (row,) = [line for line in page.splitlines() if line.startswith("| inner LoRA |")]
        cell = row.split("|")[column + 1 if column == 2 else 2]
        lora, optim = recipe.inner.lora, recipe.inner.optim
        rate = f"{optim.lr:.0e}".replace("e-0", "e-")
        for stated in (f"r {lora.rank} α {lora.alpha:g}", f"lr {rate}", f"{optim.epochs} epochs"):
            assert stated in cell, (name, stated)
        sizes = f"{recipe.continual.sequences} × {recipe.continual.steps}"
        (row,) = [line for line in page.splitlines() if line.startswith("| sequences × passages |")]
        assert sizes in row
