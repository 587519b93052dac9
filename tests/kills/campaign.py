"""Runs of the command line are killed in every way and gone on with: they end in equal bytes.

``python tests/kills/campaign.py [KILLS] [SEED]`` (``make kills``): kills the small runs of
``scenarios.py`` in turn, at a random moment, at the N-th call that changes a file, or as soon as a
phase is finished, until there were so many kills; prints what differed and ends with 1 if anything
did. Children are forked from this process, which has loaded everything, so that a start costs little.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parent)]  # started as a program
from scenarios import Words, content, make_material, phases, scenarios

PATIENCE = 300.0
"""Seconds after which a run that has not ended counts as hanging."""
IN_A_ROW = 4
"""Kills of one run at the most, before it is left to end."""
SHIM = Path(__file__).with_name("shim.c")


@dataclass(frozen=True)
class Whole:
    """A run that nobody disturbed: what it left, how long it took, its calls, its phases."""

    content: dict
    seconds: float
    calls: int
    phases: list[str]


Stopper = Callable[[int, Path], None]
"""Given a child's process id and its folder; returns when the child is killed or has ended."""


def run(words: Words, folder: Path, stop: Stopper | None = None, call: int = -1) -> tuple[int, int]:
    """A command in a child of its own process group: its exit code and its calls; −9 is killed."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        _child([*words, f"--out={folder}"], folder, tell, call)
    os.close(tell)
    if stop is not None:
        stop(child, folder)
    deadline = time.monotonic() + PATIENCE
    while (status := os.waitpid(child, os.WNOHANG))[0] == 0:
        time.sleep(0.005)
        if time.monotonic() > deadline:
            _kill(child)
            deadline = float("inf")
    with os.fdopen(told) as counted:
        calls = counted.read()
    return os.waitstatus_to_exitcode(status[1]), int(calls or 0)


def _child(words: Words, folder: Path, tell: int, call: int) -> None:
    code = 1
    try:
        os.setpgid(0, 0)
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        from selfedit.cli import main

        shim = ctypes.CDLL(None)
        counts = hasattr(shim, "selfedit_arm")
        if counts:
            shim.selfedit_arm(ctypes.c_long(call))
        code = main(words)
        os.write(tell, str(shim.selfedit_calls() if counts else 0).encode())
    finally:
        os._exit(code)


def _kill(child: int) -> None:
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        try:
            os.kill(child, signal.SIGKILL)  # it is not the leader of its group yet
        except ProcessLookupError:
            return


def _ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def at_a_moment(seconds: float) -> Stopper:
    """Kill after so many seconds."""

    def stop(child: int, _: Path) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not _ended(child):
            time.sleep(0.001)
        _kill(child)

    return stop


def after_a_phase(name: str) -> Stopper:
    """Kill as soon as a step of that name is in a ledger."""

    def stop(child: int, folder: Path) -> None:
        while not _ended(child) and name not in phases(folder):
            time.sleep(0.002)
        _kill(child)

    return stop


def _whole(words: Words, folder: Path) -> Whole:
    """The run as it is when nobody disturbs it; its folder is removed."""
    start = time.monotonic()
    code, calls = run(words, folder)
    assert code == 0, folder.with_suffix(".log").read_text()
    seconds = time.monotonic() - start
    found = Whole(content(folder), seconds, calls, sorted(phases(folder)))
    shutil.rmtree(folder)
    return found


def disturbed(words: Words, folder: Path, undisturbed: Whole, draw: random.Random) -> Counter[str]:
    """Kill a run a few times and let it end; how often it was killed in which way, and what was
    wrong.
    """
    found: Counter[str] = Counter()
    for _ in range(draw.randint(1, IN_A_ROW)):
        way = draw.choice(["moment", "call", "phase"] if undisturbed.calls else ["moment", "phase"])
        before = phases(folder) if folder.exists() else set()
        later = [name for name in undisturbed.phases if name not in before]
        if way == "phase" and not later:
            way = "moment"
        if way == "call":
            code, _ = run(words, folder, call=draw.randint(1, undisturbed.calls))
        elif way == "phase":
            code, _ = run(words, folder, after_a_phase(draw.choice(later)))
        else:
            code, _ = run(words, folder, at_a_moment(draw.uniform(0, undisturbed.seconds)))
        if code == 0:
            break
        found[f"killed: {way}" if code == -signal.SIGKILL else f"WRONG: exit code {code}"] += 1
    # A library's finished update is another one when it is started again: nothing is new then.
    finished = (folder / "results.json").exists() and phases(folder) >= {*undisturbed.phases}
    code = 0 if finished else run(words, folder)[0]
    if code != 0:
        found[f"WRONG: it does not go on, exit code {code}"] += 1
    else:
        found.update(_differences(undisturbed.content, content(folder)))
    return found


def _differences(expected: dict, actual: dict) -> list[str]:
    names = sorted(expected.keys() | actual.keys())
    return [f"WRONG: {name}" for name in names if expected.get(name) != actual.get(name)]


def campaign(kills: int, seed: int, folder: Path, names: list[str] | None = None) -> Counter[str]:
    """Kill the scenarios in turn until there were so many kills; what was counted."""
    from selfedit.inner.checkpoint import Checkpoint

    Checkpoint.write_if_due = Checkpoint.write  # small trainings are over before one is due
    make_material(folder)
    commands = {n: w for n, w in scenarios(folder).items() if names is None or n in names}
    draw, counted = random.Random(seed), Counter[str]()
    runs = {name: _whole(words, folder / "run") for name, words in commands.items()}
    number = 0
    while sum(count for what, count in counted.items() if what.startswith("killed")) < kills:
        name = list(commands)[number % len(commands)]
        # One name for all: what a run is called may stand in what it leaves.
        result = disturbed(commands[name], folder / "run", runs[name], draw)
        if any(what.startswith("WRONG") for what in result):
            kept = folder / f"wrong-{number}"
            (folder / "run").rename(kept)
            print(f"{name}, run {number}: {dict(result)}; kept in {kept}", flush=True)
        shutil.rmtree(folder / "run", ignore_errors=True)
        (folder / "run.log").unlink(missing_ok=True)
        counted.update(result)
        number += 1
    counted["runs"] = number
    return counted


def preload() -> None:
    """Start this program again with the counting library before the system's, where there is a C
    compiler.
    """
    if "SELFEDIT_SHIM" in os.environ or (compiler := shutil.which("cc")) is None:
        return
    library = Path(tempfile.mkdtemp()) / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SHIM, "-ldl"], check=True)
    os.environ |= {"SELFEDIT_SHIM": "1", "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
    os.execv(sys.executable, [sys.executable, *sys.argv])


def main() -> int:
    """The campaign of the command line."""
    preload()
    import torch

    import selfedit.cli.adapt
    import selfedit.documents.library
    import selfedit.experiments.continual.run
    import selfedit.experiments.knowledge.train  # noqa: F401

    torch.set_num_threads(1)
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        counted = campaign(kills, seed, Path(place))
        wrong = {what: count for what, count in counted.items() if what.startswith("WRONG")}
        for what, count in sorted(counted.items()):
            print(f"{count:6}  {what}")
        if wrong:
            shutil.copytree(place, Path.cwd() / "kills-wrong", dirs_exist_ok=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
