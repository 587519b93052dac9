"""Replay of the published self-edits: rows, pairs, what is said to someone without the files, the
real files.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from selfedit.errors import DataError
from selfedit.experiments.knowledge.replay import ROWS, run_replay
from selfedit.rl.evaluate import held_out
from selfedit.run.folder import RunFolder
from tiny_run import check_graded_again, tiny_settings
from trials import trainings_in

PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "data" / "published"


@pytest.fixture(scope="module")
def settings(small_folder: Path, data: Path):
    return tiny_settings(
        model=str(small_folder),
        device="cpu",
        replay__folder=str(data),
        replay__passages=3,
        eval__repeats=2,
    )


@pytest.fixture(scope="module")
def done(settings, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("replay") / "run"
    return folder, run_replay(folder, settings)


def test_rows_and_pairs(done) -> None:
    _, results = done
    assert [row["method"] for row in results["rows"]] == list(ROWS)
    assert all(row["n"] == 3 for row in results["rows"])
    assert [(gap["b"], gap["a"]) for gap in results["paired"]][:2] == [
        ("base", "passage"),
        ("passage", "no-rl"),
    ]
    assert [step["to"] for step in results["order"]] == list(ROWS[1:])
    assert results["published"]["rows"]["round-2"] == {"value": 0.47, "se": 0.019, "n": 200}
    assert len(results["by_seed"]["round-2"]) == 2 and len(results["data"]) == 5


def test_graded_again_without_a_model(done, monkeypatch) -> None:
    check_graded_again(*done, monkeypatch)


def test_each_row_is_trained_on_its_own_file(done) -> None:
    with RunFolder.read(done[0]) as run:
        texts = {row: run.ledger.self_edits(held_out(row))[0].text.split()[2] for row in ROWS[2:]}
        tokens = {
            row: sum(a.tokens for a in trainings_in(run.ledger, held_out(row))) for row in ROWS[1:]
        }
    assert texts == {"no-rl": "weak", "round-1": "better", "round-2": "good", "gpt-4.1": "long"}
    assert all(tokens[row] > tokens["passage"] for row in ROWS[2:])


def test_the_same_again_does_nothing(done, settings, monkeypatch) -> None:
    from selfedit.engine import local

    monkeypatch.setattr(local, "adapt", None)
    assert run_replay(done[0], settings) == done[1]


def test_without_the_files_it_says_where_they_are(settings, tmp_path: Path) -> None:
    missing = tiny_settings(model=settings.model, replay__folder=str(tmp_path))
    with pytest.raises(DataError, match="self_edits_base") as caught:
        run_replay(tmp_path / "run", missing)
    assert "Continual-Intelligence/SEAL" in str(caught.value.fix) and "replay.folder" in str(
        caught.value.fix
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"needs the published self-edits in {PUBLISHED}")
def test_the_published_files_are_read(settings, tmp_path: Path) -> None:
    real = tiny_settings(
        model=settings.model, device="cpu", replay__folder=str(PUBLISHED), replay__passages=1
    )
    results = run_replay(tmp_path / "run", real)
    lines = {shape["policy"]: shape["facts"] for shape in results["self_edits"]}
    assert results["rows"][0]["n"] == 1 and lines["gpt-4.1"] > lines["no-rl"] > 3
