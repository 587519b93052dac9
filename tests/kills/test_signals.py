"""Signals to the real command line and all its processes: exit code 130, one message, no traceback.

All kinds of runs get signals in the campaign.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from scenarios import make_material, phases, scenarios

pytestmark = pytest.mark.slow
IMPATIENT = (signal.SIGINT,) * 5


class Ended(NamedTuple):
    code: int
    errors: str


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    make_material(folder)
    return folder


@pytest.fixture
def started(material: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``started("train")``: that command in a process group of its own, ended with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(name: str) -> subprocess.Popen[str]:
        words = [*scenarios(material)[name], f"--out={tmp_path / 'run'}"]
        command = [sys.executable, "-m", "selfedit", *words]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, process_group=0)
        processes.append(process)
        return process

    yield start
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(process: subprocess.Popen[str], numbers: tuple[signal.Signals, ...]) -> Ended:
    """What a process says and ends with when its whole group gets signals."""
    for number in numbers:
        os.killpg(process.pid, number)
        time.sleep(0.02)
    errors = process.communicate(timeout=60)[1]
    deadline = time.monotonic() + 10
    with pytest.raises(ProcessLookupError):  # and it leaves no process behind
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.05)
    return Ended(process.returncode, errors)


def wait_for_a_step(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    while process.poll() is None and len(phases(folder)) < count:
        time.sleep(0.005)


def handled(status: str) -> int:
    """Which signals a process has handlers for, as bits."""
    return int(next(line for line in status.splitlines() if "SigCgt" in line).split()[1], 16)


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,), (signal.SIGHUP,), IMPATIENT])
def test_a_run_with_workers(started, tmp_path, numbers):
    process = started("train, two workers")
    wait_for_a_step(process, tmp_path / "run", 1)
    code, errors = ended(process, numbers)
    assert code == 130, errors
    assert "Traceback" not in errors and "Exception" not in errors
    assert "stopped" in errors and "to go on: selfedit" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_a_run_that_is_being_loaded(started, number, seconds):
    process = started("train")
    status = Path(f"/proc/{process.pid}/status")
    while not handled(status.read_text()) >> (signal.SIGTERM - 1) & 1:
        time.sleep(0.001)
    time.sleep(seconds)
    code, errors = ended(process, (number,))
    assert code == 130, errors
    assert "Traceback" not in errors


def test_nohup_keeps_a_run_going(started, material, tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = started("adapt")
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for_a_step(process, tmp_path / "run", 1)
    code, errors = ended(process, (signal.SIGHUP,))
    assert code == 0, errors
    assert (tmp_path / "run" / "results.json").exists()
