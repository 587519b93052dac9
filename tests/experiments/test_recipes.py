"""Recipes can be read; every step of a paper's recipe runs on a two-layer model; the smoke recipes
run for real.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from paper_recipe import RECIPES, SIZES, shrunk
from selfedit.config import read_settings
from selfedit.experiments.catalog import EXPERIMENTS
from selfedit.report.markdown import END, begin

OURS = ("single-passage", "replay", "cpt")
PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "published"


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_is_valid(recipe: Path) -> None:
    read_settings(recipe)


@pytest.mark.parametrize("name", OURS)
def test_each_experiment_has_its_recipes_and_a_page(name: str) -> None:
    assert name in EXPERIMENTS
    assert all((RECIPES / f"{name}-{kind}.toml").exists() for kind in ("smoke", "cpu", "paper"))
    page = (RECIPES / f"{name}.md").read_text("utf-8")
    assert f"{begin(f'{name}-cpu')}\n" in page and page.count(END) == page.count("<!-- results: ")


@pytest.mark.parametrize("page", [RECIPES.parent / "README.md", *sorted(RECIPES.glob("*.md"))])
def test_tables_of_results_come_from_a_command(page: Path) -> None:
    """A table with accuracies stands in a block that `selfedit report --into` rewrites."""
    text = page.read_text("utf-8")
    outside = re.sub(
        r"<!-- results: .*? -->\n.*?<!-- end of results -->", "", text, flags=re.DOTALL
    )
    assert not re.findall(r"^\|.*(?:accuracy %|paired difference).*\|$", outside, re.MULTILINE)


def differing(name: str, model: Path, data: Path) -> set[str]:
    """Dotted settings in which the shrunk recipe differs from the paper's."""
    from selfedit.run.settings import changes

    paper = read_settings(RECIPES / f"{name}-paper.toml").model_dump(mode="json")
    return {key for key, *_ in changes(paper, shrunk(name, model, data).model_dump(mode="json"))}


@pytest.mark.parametrize("name", OURS)
def test_only_sizes_and_places_are_changed(name: str, small_folder: Path, data: Path) -> None:
    places = {"model", "device", "train", "heldout", "replay.folder", "external.file"}
    places |= {"cpt.policy_file"}
    assert differing(name, small_folder, data) <= {*SIZES, *places}


@pytest.mark.parametrize("name", OURS)
def test_every_step_of_a_papers_recipe(
    name: str, small_folder: Path, data: Path, tmp_path: Path
) -> None:
    settings = shrunk(name, small_folder, data)
    results = EXPERIMENTS[name].load()(tmp_path / "run", settings)
    assert results["rows"] and results["paired"] and results["data"]
    assert {"accuracy", "se", "n"} <= results["rows"][0].keys()
    assert all(row["n"] == 2 for row in results["rows"])
    if name == "single-passage":
        assert [row["method"] for row in results["rows"]][-3:] == ["seal-1", "seal-2", "gold"]


@pytest.mark.slow
def test_the_papers_full_finetuning_over_processes(
    small_folder: Path, data: Path, tmp_path: Path
) -> None:
    sizes = {"cpt__methods": ["base", "passage"], "cpt__full__processes": 2}
    settings = shrunk("cpt", small_folder, data, **sizes)
    results = EXPERIMENTS["cpt"].load()(tmp_path / "run", settings)
    training = results["training"]["passage"][0]
    assert training["documents"] == 2 and training["losses"][0] > 0


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_smoke_recipes_run_on_the_real_model(name: str, tmp_path: Path) -> None:
    # Half of what the recipe says, where that shows the same.
    overrides: dict[str, object] = {
        "edit.max_new_tokens": 32,
        "rl.movement.prompts": 1,
        "cpt.methods": ["base", "passage", "own"],
        "cpt.questions": 2,
    }
    if name == "replay":
        if not PUBLISHED.exists():
            pytest.skip(f"needs the published self-edits in {PUBLISHED}")
        overrides["replay.folder"] = str(PUBLISHED)
    settings = read_settings(RECIPES / f"{name}-smoke.toml", overrides)
    results = EXPERIMENTS[name].load()(tmp_path / "run", settings)
    assert all(0 <= row["accuracy"] <= 1 for row in results["rows"])
    if name == "single-passage":
        accuracy = {row["method"]: row["accuracy"] for row in results["rows"]}
        assert list(accuracy) == ["base", "context", "passage", "own", "seal-1", "gold"]
        assert accuracy["gold"] > accuracy["base"], "trained on the very questions"
    if name == "cpt":
        assert (
            results["training"]["passage"][0]["losses"][0] < 6
        )  # nats a token: a model that reads English


def test_the_papers_recipes_ask_a_base_model_plainly() -> None:
    papers = [read_settings(path) for path in RECIPES.glob("*-paper.toml")]
    base = [settings for settings in papers if "qwen" in settings.model.lower()]
    assert len(base) == 6 and all(settings.prompting == "plain" for settings in base)
    assert read_settings(RECIPES / "arc-paper.toml").prompting == "auto", "an instruct model"


def test_the_papers_recipes_name_their_data_as_seal_does() -> None:
    from selfedit.tasks.knowledge.seal_data import FOLDER, PASSAGES, SELF_EDITS

    known = {str(FOLDER / name) for name in (*PASSAGES, *SELF_EDITS)}
    for path in RECIPES.glob("*-paper.toml"):
        named = set(re.findall(r'"(data/[^"]*\.json[^"]*)"', path.read_text("utf-8")))
        assert named <= known, path.name
    replay = read_settings(RECIPES / "replay-paper.toml").replay
    files = (replay.no_rl, replay.round_1, replay.round_2, replay.gpt4_1)
    assert files == SELF_EDITS and replay.folder == str(FOLDER)


def test_the_papers_table_of_continued_pretraining_has_every_row() -> None:
    cpt = read_settings(RECIPES / "cpt-paper.toml")
    assert {"base", "passage", "own", "seal", "external"} <= set(cpt.cpt.methods)
    assert (cpt.cpt.passages, cpt.cpt.questions, cpt.cpt.samples) == (200, 500, 5)
    full = cpt.cpt.full
    assert (full.optim.lr, full.optim.epochs, full.optim.batch_size) == (7e-5, 1, 8)
    assert (full.warmup, full.optim.schedule, cpt.cpt.update) == (0.03, "linear", "full")
    lora, optim = cpt.inner.lora, cpt.inner.optim
    assert (lora.rank, lora.alpha, lora.targets) == (32, 64, ("q_proj", "v_proj"))
    assert (optim.lr, optim.epochs, optim.batch_size) == (1e-3, 3, 8)


@pytest.mark.parametrize("update", ["lora", "full"])
def test_the_rows_of_continued_pretraining_run_with_both_updates(
    update: str, small_folder: Path, data: Path, tmp_path: Path
) -> None:
    sizes = {"cpt__methods": ["base", "own", "seal", "external"], "cpt__update": update}
    results = EXPERIMENTS["cpt"].load()(
        tmp_path / "run", shrunk("cpt", small_folder, data, **sizes)
    )
    assert [row["method"] for row in results["rows"]] == ["base", "own", "seal", "external"]
    training = results["training"]
    assert training["seal"][0]["documents"] == training["external"][0]["documents"] == 2 * 2 + 2
    assert training["seal"][0]["losses"] != training["external"][0]["losses"]
    assert results["data"].keys() >= {"seal", "external"}


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_data_are_checked_before_a_model_is_fetched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfedit.cli import fetching
    from selfedit.cli.app import main

    def fetched(*_: object, **__: object) -> None:
        raise AssertionError("a model was asked for")

    monkeypatch.setattr(fetching, "have_model", fetched)
    gone = str(tmp_path / "gone.json")
    places = ["--train", gone, "--heldout", gone, "--replay.folder", gone, "--arc.train", gone]
    places += ["--eval.methods", "base"]
    assert main(["experiment", name, *places, "-o", str(tmp_path / "run")]) == 3
    assert not (tmp_path / "run").exists()
    if name == "single-passage":
        assert main(["train", *places[:4], "-o", str(tmp_path / "run")]) == 3
