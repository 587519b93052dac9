"""What trackers are told: every row once, across kills, and nothing that ends a run."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from pathlib import Path

import pytest
from fake_tracker import noted
from followed_run import followed

from selfedit.config import read_settings
from selfedit.config.run import RunSettings
from selfedit.documents.adapt import adapt_documents
from selfedit.documents.upkeep import update_library
from selfedit.errors import RunFolderError, Unavailable, UsageError
from selfedit.run.folder import RunFolder
from selfedit.trackers.base import tracker_classes
from selfedit.trackers.following import Following, numbers_of


def metrics_of(folder: Path) -> list[dict]:
    with RunFolder.read(folder) as run:
        return run.metrics()


def killed_at(row: int, folder: Path, model: Path, tracker: str) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=followed, args=(folder, str(model), tracker, row)
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def test_every_row_is_sent_once_across_kills(small_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for row in (0, 3):
        killed_at(row, folder, small_folder, "fake_tracker:Noted")
    followed(folder, str(small_folder), "fake_tracker:Noted")
    calls = noted(folder)
    logged, rows = [call for call in calls if call[0] == "log"], metrics_of(folder)
    assert [call[1] for call in logged] == list(range(len(rows)))
    assert [call[2] for call in logged] == [numbers_of(row) for row in rows]
    opened = [call for call in calls if call[0] == "open"]
    assert len({call[1] for call in opened}) == 1 and len(opened) == 3
    assert opened[0][4]["rl"]["candidates"] == 2 and opened[0][3] == "selfedit"
    kinds = {row["id"].partition("-")[0] for row in rows}
    assert kinds == {"inner", "rewards", "policy", "round"} and calls[-1] == ["close"]
    followed(folder, str(small_folder), "fake_tracker:Noted")  # nothing is left to send
    assert [call for call in noted(folder) if call[0] == "log"] == logged


def test_what_a_tracker_lost_is_sent_again(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run", {}, kind="train") as run:
        for number in range(4):
            run.append_metric({"value": number}, once=f"round-{number}")
        settings = RunSettings(trackers=("fake_tracker:Knowing",))
        Following(run, settings).close()
        lines = (tmp_path / "noted.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / "noted.jsonl").write_text("".join(lines[:3]))  # its last two rows are lost
        Following(run, settings).close()
        steps = [call[1] for call in noted(run.path) if call[0] == "log"]
    assert steps == [0, 1, 2, 3]


def test_a_tracker_that_fails_is_named_once_and_the_run_goes_on(
    small_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        followed(tmp_path / "run", str(small_folder), "fake_tracker:Failing")
    said = [record.getMessage() for record in caplog.records if "tracker" in record.getMessage()]
    assert len(said) == 1 and "no network" in said[0] and "\x1b" not in said[0]
    assert len(metrics_of(tmp_path / "run")) > 3


def test_what_is_missing_is_said_before_there_is_a_folder(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "selfedit.trackers.wandb", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(Unavailable, match=r"pip install 'selfedit\[wandb\]'"):
        followed(tmp_path / "run", str(small_folder), "wandb")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="choose among"):
        tracker_classes(("nothing",))
    settings = read_settings(overrides={"run.trackers": ["tensorboard"]})
    with pytest.raises(UsageError, match="without --library"):
        update_library(tmp_path / "library", [], settings, samples=1, own_questions=False)


def test_only_numbers_leave_and_no_secret_is_kept(tmp_path: Path) -> None:
    row = {"id": "inner-1", "phase": "eval", "method": "a b[$]", "text": "x", "n": 2, "ok": True}
    values = numbers_of(row | {"deep": {"loss": 0.5, "bad": float("nan"), "none": None}})
    assert values == {
        "inner/eval/a b___/n": 2, "inner/eval/a b___/ok": 1, "inner/eval/a b___/deep/loss": 0.5,
    }  # fmt: skip
    with RunFolder.open(tmp_path / "run", {"api_key": "sk-secret"}, kind="train") as run:
        Following(run, RunSettings(trackers=("fake_tracker:Noted",))).close()
        assert "sk-secret" not in (tmp_path / "noted.jsonl").read_text()
        (run.path / "trackers.json").write_text('{"fake_tracker:Noted": {"id": "../x"}}')
        with pytest.raises(RunFolderError, match="what trackers were sent"):
            Following(run, RunSettings(trackers=("fake_tracker:Noted",)))


def test_trackers_may_change_when_a_run_goes_on(tmp_path: Path, caplog) -> None:
    settings = {"seed": 1, "run": {"trackers": ["wandb"], "project": "a"}}
    RunFolder.open(tmp_path / "run", settings, kind="train").close()
    with caplog.at_level(logging.WARNING):
        RunFolder.open(tmp_path / "run", {"seed": 1}, kind="train").close()
    assert not caplog.records


def test_a_document_sends_the_losses_of_its_training(small_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "vell.md").write_text("# Vell\nThe harbour of Vell was built in 1412.\n")
    changed = {"run.trackers": ["fake_tracker:Noted"], "edit.max_new_tokens": 8}
    settings = read_settings(overrides=changed | {"model": str(small_folder)})
    adapt_documents(
        tmp_path / "run", [tmp_path / "vell.md"], settings, samples=0, own_questions=False
    )
    rows = [call[2] for call in noted(tmp_path / "run") if call[0] == "log"]
    assert rows and all(set(row) == {"adapter/step", "adapter/loss"} for row in rows)
    assert [row["adapter/step"] for row in rows] == list(range(len(rows)))
