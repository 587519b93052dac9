"""``selfedit arc`` and the few-shot experiment from the command line."""

import json

import pytest

from selfedit.cli.app import main
from tiny_arc import arc_settings, small_task, write_tasks


@pytest.fixture
def files(tmp_path):
    train = [small_task("mirror", 1), small_task("upside_down", 2, 3)]
    return write_tasks(tmp_path / "train.json", train), write_tasks(
        tmp_path / "held.json", [small_task("half_turn", 3)]
    )


@pytest.fixture
def recipe(small_folder, files, tmp_path):
    import tomli_w

    settings = arc_settings(
        small_folder, *files, rl__candidates=2, rl__repeats=1, eval__samples=1, rl__contexts=1
    )
    path = tmp_path / "recipe.toml"
    path.write_text(tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True)))
    return path


def test_a_task_is_shown_and_drawn(files, tmp_path, capsys):
    code = main(
        [
            "arc",
            "show",
            "rule-mirror-1",
            "--source",
            str(files[0]),
            "--picture",
            str(tmp_path / "t.png"),
        ]
    )
    assert code == 0 and (tmp_path / "t.png").stat().st_size > 1000
    shown = capsys.readouterr().out
    assert "rule-mirror-1" in shown and "demonstration 2" in shown


def test_an_unknown_task_is_an_error_with_its_code(files, capsys):
    assert main(["arc", "show", "nothing", "--source", str(files[0])]) == 3
    assert "no task has this id" in capsys.readouterr().err


def test_the_experiment_prints_rows_notes_and_tables(recipe, tmp_path, capsys):
    assert (
        main(["experiment", "few-shot", "--recipe", str(recipe), "-o", str(tmp_path / "run"), "-q"])
        == 0
    )
    printed = capsys.readouterr().out
    for words in (
        "in-context learning",
        "Oracle TTT",
        "trials",
        "not filtered",
        "What the policy asks for",
        "before RL",
    ):
        assert words in printed


def test_the_filter_lists_every_task(recipe, tmp_path, capsys):
    assert (
        main(
            [
                "arc",
                "filter",
                "--recipe",
                str(recipe),
                "-o",
                str(tmp_path / "filter"),
                "-q",
                "--json",
            ]
        )
        == 0
    )
    results = json.loads(capsys.readouterr().out)
    assert len(results["filter"]) == 3 and set(results["kept"]) <= set(results["filter"])


def test_together_says_how_many_answers_are_equal(recipe, capsys):
    assert main(["arc", "together", "--recipe", str(recipe), "--jobs", "2", "-q"]) == 0
    assert "equal answers: 8 of 8" in capsys.readouterr().out
    assert main(["arc", "together", "--recipe", str(recipe), "--jobs", "1", "-q"]) == 2


def test_priming_prints_the_models_folder(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SELFEDIT_CACHE", str(tmp_path / "cache"))
    assert main(["arc", "prime", "--recipe", str(recipe), "-q"]) == 2
    assert "arc.prime.tokens is 0" in capsys.readouterr().err
    small = ["--arc.prime.tokens", "900", "--arc.prime.lora.rank", "2"]
    assert main(["arc", "prime", "--recipe", str(recipe), "-q", *small]) == 0
    folder = capsys.readouterr().out.strip()
    assert folder.startswith(str(tmp_path / "cache" / "primed"))
