import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest

from selfedit.errors import RunFolderError, SettingsChanged
from selfedit.run.folder import RunFolder, folder_atomic
from selfedit.run.ledger import Ledger

SETTINGS = {"seed": 0, "inner": {"lr": 1e-3, "warmup": None}}


def open_run(path, settings=SETTINGS, kind="rl"):
    return RunFolder.open(path, settings, kind=kind)


def test_a_new_run_and_its_resumption(tmp_path):
    path = tmp_path / "runs" / "one"
    with open_run(path) as run:
        assert not run.resumed
        run.ledger.finish_step("one", {"a": 1})
    assert (path / "config.toml").read_text() == "seed = 0\n\n[inner]\nlr = 0.001\n"
    with open_run(str(path)) as run:
        assert (
            run.resumed
            and run.ledger.step("one") == {"a": 1}
            and run.settings == {"seed": 0, "inner": {"lr": 1e-3}}
        )
        assert run.policy(3) == path / "policy" / "round-3"
    with RunFolder.read(path) as run:
        assert run.kind == "rl" and run.settings["seed"] == 0


def test_other_settings_are_refused_and_nothing_is_changed(tmp_path):
    open_run(tmp_path / "run").close()
    before = (tmp_path / "run" / "config.toml").read_bytes()
    with pytest.raises(SettingsChanged, match=r"inner\.lr: 0\.001 → 0\.1"):
        open_run(tmp_path / "run", {"seed": 0, "inner": {"lr": 0.1}})
    assert (tmp_path / "run" / "config.toml").read_bytes() == before
    open_run(tmp_path / "run").close()  # the refusal let the folder go


def test_what_is_not_a_runs_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.md").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text('["another program"]')
    for name, match in [
        ("file", "is a file"),
        ("thesis", "holds chapter.md"),
        ("other", "not a run's folder"),
    ]:
        with pytest.raises(RunFolderError, match=match):
            open_run(tmp_path / name)
        with pytest.raises((RunFolderError, OSError)):
            RunFolder.read(tmp_path / name)
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == [
        "chapter.md",
        "file",
        "other",
        "run.json",
        "thesis",
    ]
    with pytest.raises(RunFolderError, match="cannot be made"):
        open_run(tmp_path / "file" / "below")
    with pytest.raises(RunFolderError, match="no such folder"):
        RunFolder.read(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "run").mkdir()
    open_run(tmp_path / "run").close()


def test_another_kind_and_another_form_are_refused(tmp_path):
    open_run(tmp_path / "run").close()
    with pytest.raises(RunFolderError, match="of kind 'rl', not 'continual'"):
        open_run(tmp_path / "run", kind="continual")
    marker = tmp_path / "run" / "run.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": 99}))
    for opening in (open_run, RunFolder.read):
        with pytest.raises(RunFolderError, match="form 99, this selfedit reads 1"):
            opening(tmp_path / "run")


def test_lost_settings_are_not_replaced_by_new_ones(tmp_path):
    open_run(tmp_path / "run").close()
    (tmp_path / "run" / "config.toml").unlink()
    with pytest.raises(RunFolderError, match="settings are missing"):
        open_run(tmp_path / "run", {"seed": 1})


def test_a_folder_is_open_once_even_in_one_process_and_can_be_read_meanwhile(tmp_path):
    with open_run(tmp_path / "run") as run:
        with pytest.raises(RunFolderError, match=f"process {os.getpid()} is running"):
            open_run(tmp_path / "run")
        run.ledger.finish_step("one", {})
        with RunFolder.read(tmp_path / "run") as reader:
            assert reader.ledger.step("one") == {}
        run.close()
    with open_run(tmp_path / "run"):
        pass


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="forking beside threads warns from Python 3.12 on"
)
def test_a_forked_child_does_not_keep_the_folder(tmp_path):
    run = open_run(tmp_path / "run")
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
    child.start()
    try:
        with pytest.raises(RunFolderError):
            open_run(
                tmp_path / "run"
            )  # the child's end of the lock did not take the parent's with it
        run.close()
        deadline = time.monotonic() + 5
        while True:  # the child needs a moment to let go
            try:
                open_run(tmp_path / "run").close()
                break
            except RunFolderError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        assert child.is_alive()
    finally:
        child.kill()
        child.join()


def test_a_started_program_does_not_keep_the_folder(tmp_path):
    run = open_run(tmp_path / "run")
    with subprocess.Popen(["sleep", "30"], close_fds=False) as child:
        run.close()
        open_run(tmp_path / "run").close()
        child.kill()


def test_metrics_survive_a_torn_line(tmp_path):
    with open_run(tmp_path / "run") as run:
        run.append_metric({"round": 0, "reward": float("nan")}, once="round/0")
        run.append_metric({"loss": 0.5})
    path = tmp_path / "run" / "metrics.jsonl"
    whole = path.read_bytes()
    for torn in (b'{"round": 1, "rew', b"\x00" * 50, b'{"loss": 0.25}', b"7\n", b"\n"):
        path.write_bytes(whole + torn)
        with RunFolder.read(tmp_path / "run") as run:
            assert len(run.metrics()) == 2
        with open_run(tmp_path / "run") as run:
            assert path.read_bytes() == whole
            run.append_metric({"round": 0, "reward": 9.0}, once="round/0")
            assert run.metrics() == [{"id": "round/0", "round": 0, "reward": None}, {"loss": 0.5}]


def test_results_are_the_same_bytes_for_the_same_numbers(tmp_path):
    with open_run(tmp_path / "run") as run:
        assert run.results() is None
        first = run.write_results(
            {"b": 0.1 + 0.2, "a": [1, float("nan")], "t": "é\ud800"}
        ).read_bytes()
        again = run.write_results(
            {"t": "é\ud800", "a": (1, float("inf")), "b": 0.30000000000000004}
        ).read_bytes()
        assert first == again and first.endswith(b"}\n")
        assert run.results() == {"a": [1, None], "b": 0.30000000000000004, "t": "é\ud800"}


def test_the_environment_is_recorded_once_and_changes_are_noted(tmp_path):
    first = {"packages": {"torch": "2.13.0"}, "threads": None}
    with open_run(tmp_path / "run") as run:
        assert run.record_environment(first) == []
        assert run.record_environment(first) == []
        assert run.record_environment({"packages": {"torch": "2.14.0"}}) == [
            'packages.torch: "2.13.0" → "2.14.0"'
        ]
        assert run.record_environment({"packages": {"torch": "2.14.0"}}) == []
    stored = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert stored == {**first, "resumed_in": [{"packages": {"torch": "2.14.0"}}]}


def test_leftovers_of_a_killed_process_are_swept_at_the_next_start(tmp_path):
    with open_run(tmp_path / "run") as run, folder_atomic(run.policy(0)) as new:
        (new / "weights").write_text("whole")
    left = tmp_path / "run" / "policy" / ".selfedit-round-1-abc.tmp"
    left.mkdir()
    (left / "weights").write_text("half")
    (tmp_path / "run" / ".selfedit-results.json-abc.tmp").write_text("half")
    with open_run(tmp_path / "run") as run:
        assert (run.policy(0) / "weights").read_text() == "whole"
    assert not list((tmp_path / "run").rglob(".selfedit-*"))


def test_a_damaged_ledger_does_not_leave_the_folder_locked(tmp_path):
    open_run(tmp_path / "run").close()
    (tmp_path / "run" / "ledger.sqlite").write_bytes(b"not a database" * 1000)
    for _ in range(2):
        with pytest.raises(RunFolderError, match="damaged"):
            open_run(tmp_path / "run")


def test_two_starts_at_once_make_one_run(tmp_path):
    path, outcomes = tmp_path / "run", []

    def attempt(seed):
        try:
            with RunFolder.open(path, {"seed": seed}, kind="rl") as run:
                time.sleep(0.2)
                outcomes.append(run.settings)
        except RunFolderError:
            outcomes.append(None)

    threads = [threading.Thread(target=attempt, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if outcome]
    assert len(winners) == 1
    with RunFolder.read(path) as run:
        assert run.settings == winners[0]
    with Ledger(path / "ledger.sqlite") as ledger:
        assert ledger.places() == []
