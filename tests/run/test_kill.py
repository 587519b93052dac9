"""A run is killed in every way there is, and goes on as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from killable_run import ROUNDS, SETTINGS

from run_rows import rl
from selfedit.errors import RunFolderError
from selfedit.run.folder import RunFolder
from selfedit.storage.files import hash_folder

SCRIPT = Path(__file__).with_name("killable_run.py")


def start(folder, *options):
    command = [
        sys.executable,
        "-W",
        "error",
        str(SCRIPT),
        str(folder),
        str(folder.with_suffix(".log")),
        *options,
    ]
    # What pytest finds in tests/, a script of its own does not.
    path = os.pathsep.join([str(SCRIPT.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def finish(folder, *options):
    process = start(folder, *options)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def content(folder):
    """All that a run has to show for itself, but its times."""
    with RunFolder.read(folder) as run:
        places = run.ledger.places()
        kinds = ("self_edits", "trials", "rewards")
        tables = {kind: [getattr(run.ledger, kind)(place) for place in places] for kind in kinds}
        steps = {row.name: row.payload_json for row in run.ledger.steps()}
        return tables, steps, run.ledger.timings(), run.metrics()


def check_no_inner_loop_is_partial(folder):
    with RunFolder.read(folder) as run:
        for place in run.ledger.places():
            for trial in run.ledger.trials(place):
                assert (trial.training is None) == (trial.candidate is None)
                assert len(trial.answers) == 3


def check_nothing_stored_was_begun_again(log):
    begun, stored = set(), set()
    for line in log.read_text().splitlines():
        word, _, what = line.partition(" ")
        assert not (word == "begin" and what in stored), f"{what} was done twice"
        (begun if word == "begin" else stored).add(what)
    return begun


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert finish(folder) == (0, "")
    return folder


def check_equal(folder, uninterrupted):
    assert content(folder) == content(uninterrupted)
    assert (folder / "results.json").read_bytes() == (uninterrupted / "results.json").read_bytes()
    assert (folder / "config.toml").read_bytes() == (uninterrupted / "config.toml").read_bytes()
    assert hash_folder(folder / "policy") == hash_folder(uninterrupted / "policy")
    assert not list(folder.rglob(".selfedit-*"))
    assert len(check_nothing_stored_was_begun_again(folder.with_suffix(".log"))) == ROUNDS * (
        5 + 5 + 5 * 4 + 1 + 1
    )


def test_the_same_seed_gives_the_same_bytes(uninterrupted, tmp_path):
    assert finish(tmp_path / "run") == (0, "")
    check_equal(tmp_path / "run", uninterrupted)
    assert finish(tmp_path / "run") == (
        0,
        "",
    )  # a finished run, started again, does nothing and ends the same
    check_equal(tmp_path / "run", uninterrupted)


def wait_for_lines(log, count, process, seconds=60.0):
    deadline = time.monotonic() + seconds
    while process.poll() is None and lines(log) < count and time.monotonic() < deadline:
        time.sleep(0.001)


def lines(log):
    return log.read_text().count("\n") if log.exists() else 0


def test_killed_twenty_times(uninterrupted, tmp_path):
    folder, log, moments = tmp_path / "run", tmp_path / "run.log", random.Random(0)
    for kill in range(20):
        opened = (folder / "ledger.sqlite").exists()
        process = start(folder, "--pause", "0.01")
        if kill % 3 == 0:  # while it starts
            wait_for_lines(log, lines(log) + 1, process, seconds=moments.uniform(0.03, 0.3))
        else:  # while it works
            wait_for_lines(log, lines(log) + moments.randint(1, 5), process)
            time.sleep(moments.uniform(0.0, 0.012))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
        if opened:
            check_no_inner_loop_is_partial(folder)
    assert finish(folder) == (0, "")
    check_equal(folder, uninterrupted)


def test_killed_while_the_folder_is_made(uninterrupted, tmp_path):
    moments = random.Random(1)
    for attempt in range(12):
        folder = tmp_path / f"run{attempt}"
        process = start(folder, "--pause", "0.1")
        while not folder.exists():
            time.sleep(0.0005)
        time.sleep(moments.uniform(0.0, 0.02))
        process.kill()
        process.communicate()
    for attempt in range(0, 12, 4):
        assert finish(tmp_path / f"run{attempt}") == (0, "")
        check_equal(tmp_path / f"run{attempt}", uninterrupted)
    for attempt in range(12):
        with RunFolder.open(tmp_path / f"run{attempt}", SETTINGS, kind="rl"):
            pass


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT]]
)
def test_interrupted_by_hand(uninterrupted, tmp_path, signals):
    folder, log = tmp_path / "run", tmp_path / "run.log"
    for stop in range(3):
        process = start(folder, "--pause", "0.2")
        wait_for_lines(log, lines(log) + 5 + stop, process)
        time.sleep(0.06)  # into the next step's pause, where both signals have room
        for number in signals:
            process.send_signal(number)
            time.sleep(0.005)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert errors.startswith("Interrupted: stopped") and "to go on: the same command" in errors
        check_no_inner_loop_is_partial(folder)
    assert finish(folder) == (0, "")
    check_equal(folder, uninterrupted)


@pytest.mark.parametrize("limit", [10, 200, 9_000, 60_000, 100_000, 150_000])
def test_no_room_for_files(uninterrupted, tmp_path, limit):
    """A limit on file size stands for a full disk: it stops the first small file, the ledger, or
    its log.
    """
    folder = tmp_path / "run"
    for _ in range(2):
        code, errors = finish(folder, "--max-file", str(limit))
        assert code == 4 and errors.startswith("StorageFull: no room left"), errors
        assert not list(folder.rglob(".selfedit-*"))
    if limit >= 100_000:  # below, the ledger itself may not have been made
        check_no_inner_loop_is_partial(folder)
    assert finish(folder) == (0, "")
    check_equal(folder, uninterrupted)


def test_the_folder_of_a_running_run_is_refused_and_free_after_its_death(tmp_path):
    folder, log = tmp_path / "run", tmp_path / "run.log"
    process = start(folder, "--pause", "0.2")
    try:
        wait_for_lines(log, 2, process)
        with pytest.raises(
            RunFolderError, match=f"process {process.pid} is running in this folder"
        ):
            RunFolder.open(folder, SETTINGS, kind="rl")
        with RunFolder.read(folder) as run:
            assert run.ledger.places() == [rl(0)]
    finally:
        process.kill()
        process.communicate()
    with RunFolder.open(folder, SETTINGS, kind="rl") as run:
        assert run.resumed
