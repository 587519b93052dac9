"""train, evaluate and report on a small run, and runs' folders that cannot be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small_runs import small_run

from selfedit.run.folder import RunFolder


def test_results_are_json_and_the_same_again(
    run, finished: Path, tiny_folder: Path, passages: Path
) -> None:
    before = (finished / "results.json").read_bytes()
    done = run(*small_run(tiny_folder, passages, finished), "--json", "--quiet")
    assert done.code == 0
    results = json.loads(done.out)
    assert [row["method"] for row in results["rows"]] == ["base", "passage", "own", "seal", "gold"]
    assert all(row["n"] == 2 for row in results["rows"])
    assert (finished / "results.json").read_bytes() == before


def test_a_changed_setting_is_named(run, finished: Path, tiny_folder: Path, passages: Path) -> None:
    done = run(*small_run(tiny_folder, passages, finished, **{"inner.optim.lr": 0.5}))
    assert done.code == 2
    assert "inner.optim.lr" in done.err


def test_evaluate_prints_the_table_again(run, finished: Path) -> None:
    done = run("evaluate", finished)
    assert done.code == 0
    assert "seal: passage + own self-edits, after RL" in done.out
    assert "own − passage" in done.out


def test_evaluate_puts_runs_together_in_the_order_of_the_methods(run, finished: Path) -> None:
    pooled = json.loads(run("evaluate", finished, finished, "--json").out)
    stored = json.loads((finished / "results.json").read_text())
    assert [row["method"] for row in pooled["rows"]] == ["base", "passage", "own", "seal", "gold"]
    assert [(gap["a"], gap["b"]) for gap in pooled["paired"]] == [
        (gap["a"], gap["b"]) for gap in stored["paired"]
    ]
    assert all(gap["by_run"] == [gap["difference"]] * 2 for gap in pooled["paired"])


def test_evaluate_with_another_grader_changes_nothing(run, finished: Path) -> None:
    before = (finished / "results.json").read_bytes()
    done = run("evaluate", finished, "--grader", "exact", "--json")
    assert done.code == 0
    assert json.loads(done.out)["grader"] == "exact"
    assert (finished / "results.json").read_bytes() == before


def test_evaluate_with_the_same_grader_gives_the_same_rows(run, finished: Path) -> None:
    stored = json.loads((finished / "results.json").read_text())
    again = json.loads(run("evaluate", finished, "--grader", "contains", "--json").out)
    assert again["rows"] == stored["rows"] and again["paired"] == stored["paired"]


def test_evaluate_a_model_needs_questions(run, tiny_folder: Path) -> None:
    done = run("evaluate", tiny_folder)
    assert done.code == 2 and "--data" in done.err


def test_evaluate_a_model(run, tiny_folder: Path, passages: Path) -> None:
    done = run("evaluate", tiny_folder, "--data", passages / "held.json", "--json", "--quiet")
    assert done.code == 0
    found = json.loads(done.out)
    assert found["n"] == 2 and found["questions"] == 4 and 0 <= found["accuracy"] <= 1


def test_report_writes_a_page_and_its_pictures(run, finished: Path) -> None:
    done = run("report", finished)
    assert done.code == 0
    paths = [Path(line) for line in done.out.splitlines()]
    pictures = ["accuracy-by-round", "self-edits-by-round", "reward-by-round", "reward-by-length"]
    pictures += ["policy-moved", "cost-and-accuracy"]
    assert [path.stem for path in paths] == ["index", *pictures]
    assert all(path.stat().st_size > 500 for path in paths)


def test_a_folder_that_is_no_run(run, tmp_path: Path) -> None:
    assert run("report", tmp_path).code == 3
    (tmp_path / "notes.txt").write_text("mine")
    done = run("train", "--out", tmp_path, "--rl.rounds=0", "--heldout=none")
    assert done.code == 3 and "notes.txt" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_of_another_form(run, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"program": "selfedit", "kind": "knowledge", "format": 99}')
    done = run("evaluate", tmp_path)
    assert done.code == 3 and "99" in done.err


def test_a_folder_in_use(run, tmp_path: Path, tiny_folder: Path, passages: Path) -> None:
    out = tmp_path / "run"
    with RunFolder.open(out, {"seed": 0}, kind="knowledge"):
        done = run(*small_run(tiny_folder, passages, out))
    assert done.code == 3 and str(out) in done.err


@pytest.fixture
def other_seed(finished: Path, tmp_path: Path) -> Path:
    """The finished run again, as if it had another seed."""
    folder = Path(shutil.copytree(finished, tmp_path / "other"))
    results = json.loads((folder / "results.json").read_text())
    results["settings"]["seed"] += 1
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def test_report_puts_runs_together_in_a_page(run, finished: Path, other_seed: Path) -> None:
    printed = run("report", finished, other_seed, "--markdown")
    assert printed.code == 0 and "| each of 2 runs | se over runs |" in printed.out
    pooled = json.loads(run("evaluate", finished, other_seed, "--json").out)
    gap = pooled["paired"][0]
    gain = f"{100 * gap['difference']:+.1f}"
    assert (
        f"| {gap['a']} − {gap['b']} | {gain} | {100 * gap['se']:.1f} | 2 | {gain}, {gain} | 0.0 |"
        in printed.out
    )
    assert "Learning curves" in printed.out and "canary" in printed.out
    short = run("report", finished, other_seed, "--markdown", "--short")
    assert "Learning curves" in short.out and "By two graders" not in short.out
    twice = run("report", finished, finished, "--markdown")
    assert twice.code == 2 and "two runs have the seed 0" in twice.err


def test_report_draws_the_learning_curves_of_several_runs(
    run, finished: Path, other_seed: Path
) -> None:
    drawn = run("report", other_seed, finished)
    assert drawn.code == 0 and "− no RL (se)" in drawn.out
    assert (other_seed / "report" / "learning-curves.png").read_bytes().startswith(b"\x89PNG")
    stored = json.loads(run("report", other_seed, finished, "--json").out)
    assert [point["round"] for point in stored["points"]] == [0, 1]
    assert stored["points"][1]["gain"]["policies"] == 2


def test_report_prints_tables_and_rewrites_a_page(run, finished: Path, tmp_path: Path) -> None:
    printed = run("report", finished, "--markdown")
    assert printed.code == 0 and "| base: the model as it is | " in printed.out
    page = tmp_path / "page.md"
    page.write_text("# Page\n<!-- results: small -->\nold\n<!-- end of results -->\n")
    before = (finished / "results.json").read_bytes()
    assert run("report", finished, "--into", page).code == 0
    assert (
        page.read_text()
        == f"# Page\n<!-- results: small -->\n\n{printed.out}\n<!-- end of results -->\n"
    )
    assert (finished / "results.json").read_bytes() == before
    assert run("report", finished, "--into", page, "--block", "other").code == 3


def test_a_run_takes_the_passages_there_are_and_says_so(
    run, small_folder: Path, passages: Path, tmp_path: Path
) -> None:
    command = small_run(small_folder, passages, tmp_path / "few", **{"eval.methods": "base,own"})
    few = [word for word in command if not word.startswith("--rl.contexts")]
    (tmp_path / "few.toml").write_text("heldout_contexts = 8\n")
    done = run(*few, "--recipe", tmp_path / "few.toml", "--quiet")
    assert done.code == 0
    assert "rl.contexts is 2" in done.err and "heldout_contexts is 2" in done.err
    with RunFolder.read(tmp_path / "few") as stored:
        assert (stored.settings["rl"]["contexts"], stored.settings["heldout_contexts"]) == (2, 2)
    typed = run(*few, "--rl.contexts=3", "--quiet")
    assert typed.code == 3 and "there are 2" in typed.err
