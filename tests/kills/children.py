"""Commands of selfedit in child processes that start in no time, and ways to end them early.

A child is forked from a process that has loaded every package; its workers are forked from it.
"""

from __future__ import annotations

import ctypes
import inspect
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import resource_tracker
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from scenarios import phases

PATIENCE = 300.0
"""Seconds after which a command that has not ended counts as hanging, and is killed."""
SHIM = Path(__file__).with_name("shim.c")

Stopper = Callable[[int, Path], None]
"""Given a child's process id and its folder; returns when it has done to it what it does."""


def preload() -> None:
    """Start this program again with the library that counts calls before the system's, where there
    is a C compiler; then load all that commands need.
    """
    compiler = shutil.which("cc")
    if "SELFEDIT_SHIM" not in os.environ and compiler is not None:
        library = Path(tempfile.mkdtemp()) / "shim.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SHIM, "-ldl"], check=True)
        os.environ |= {"SELFEDIT_SHIM": "1", "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
        os.execv(sys.executable, [sys.executable, *sys.argv])
    import torch
    from tqdm import tqdm

    import selfedit.cli.adapt
    import selfedit.documents.library
    import selfedit.experiments.continual.run
    import selfedit.experiments.knowledge.train  # noqa: F401

    tqdm.monitor_interval = 0  # its thread would stand still in a forked process
    torch.set_num_threads(1)


def share_what_kills_do_not_test(model: Path) -> None:
    """Do once, before children are forked, what every run does first, and let workers be forked."""
    from selfedit.engine import processes
    from selfedit.inner.checkpoint import Checkpoint
    from selfedit.lm import load as loading
    from selfedit.run import environment

    loaded = loading.load(str(model), device="cpu")
    loading.load = lambda *_, **__: loaded
    for name in ("_git", "_hardware", "_packages"):
        setattr(environment, name, cache(getattr(environment, name)))
    environment.environment({})
    Checkpoint.write_if_due = Checkpoint.write  # small trainings are over before one is due
    resource_tracker.ensure_running()
    fork = multiprocessing.get_context("fork")
    processes.multiprocessing = SimpleNamespace(get_context=lambda _: fork)


class Ended(NamedTuple):
    """What is left of a command."""

    code: int
    calls: int
    seconds: float


@dataclass(frozen=True)
class Command:
    """A command of selfedit with its words read already, which takes as long as a small run."""

    words: Sequence[str]
    verb: Callable[..., Any]
    bound: inspect.BoundArguments

    @classmethod
    def read(cls, words: Sequence[str], folder: Path) -> Command:
        """The command whose results go to a folder."""
        from selfedit.cli import app

        whole = [*words, f"--out={folder}"]
        verb, bound, _ = app.app.parse_args(whole, print_error=False, exit_on_error=False)
        return cls(whole, verb, bound)

    def __call__(self, *_: object, **__: object) -> Any:
        return self.verb(*self.bound.args, **self.bound.kwargs)


def run(command: Command, folder: Path, stop: Stopper | None = None, call: int = -1) -> Ended:
    """A command in a child of its own process group.

    Args:
        command: what it does.
        folder: where its results go.
        stop: ends it early.
        call: at which of its calls that change files it is killed.

    Returns:
        Its exit code, −9 where it was killed; where it was not, its calls and its seconds on a
        processor.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _live(command, folder, writer, call)
    os.close(writer)
    deadline = time.monotonic() + PATIENCE
    try:
        if stop is not None:
            stop(child, folder)
        while not has_ended(child):
            time.sleep(0.002)
            if time.monotonic() > deadline:
                send(child, signal.SIGKILL)
    except BaseException:
        send(child, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as counted:
        calls, seconds = (counted.read() or "0 0").split()
    return Ended(os.waitstatus_to_exitcode(status), int(calls), float(seconds))


def _live(command: Command, folder: Path, writer: int, call: int) -> None:
    """The child's life; it ends here."""
    code = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):  # whatever this program makes of them
            signal.signal(number, signal.SIG_DFL)
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        shim = ctypes.CDLL(None)
        counts = hasattr(shim, "selfedit_arm")
        if counts:
            shim.selfedit_arm(ctypes.c_long(call))
        sys.argv = ["selfedit", *command.words]
        from selfedit.cli import app

        app.app = command
        code = app.main()
        calls = shim.selfedit_calls() if counts else 0
        os.write(writer, f"{calls} {time.process_time()}".encode())
    finally:
        os._exit(code)


def send(child: int, number: signal.Signals) -> None:
    """Send a signal to a child and its workers; one that has ended gets none."""
    try:
        os.killpg(child, number)
    except ProcessLookupError:
        try:
            os.kill(child, number)  # it is not the leader of its group yet
        except ProcessLookupError:
            return


def has_ended(child: int) -> bool:
    """Whether a child has ended; it can still be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def processor_seconds(child: int) -> float:
    """What a child has computed so far, which does not depend on who else does."""
    return time.clock_gettime((~child << 3) | 2)  # clock_getcpuclockid(3) of Linux


def at_a_moment(seconds: float, *numbers: signal.Signals) -> Stopper:
    """Send signals after so many seconds on a processor, one after the other."""

    def stop(child: int, _: Path) -> None:
        while not has_ended(child) and processor_seconds(child) < seconds:
            time.sleep(0.001)
        for number in numbers:
            send(child, number)
            time.sleep(0.01)

    return stop


def after_a_phase(name: str) -> Stopper:
    """Kill as soon as a step of that name is in a ledger."""

    def stop(child: int, folder: Path) -> None:
        while not has_ended(child) and name not in phases(folder):
            time.sleep(0.002)
        send(child, signal.SIGKILL)

    return stop
