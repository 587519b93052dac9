"""Change inputs and read them: nothing but `SelfEditError` may come out, and nothing may take five
seconds.

``python tests/fuzz/campaign.py [N] [STATE]``: N inputs over all targets (``make fuzz``). What was
tried is noted in STATE (``runs/fuzz.json``) after each thousand inputs, so that a campaign that was
stopped goes on, and one with a larger N adds to it. Inputs that went wrong are kept there and tried
again first. Prints a line a target and the total, and ends with 1 if anything is wrong. An input
that ends the whole process (a library written in another language) is noted, and the campaign goes
on behind it.
"""

from __future__ import annotations

import json
import logging
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mutations import mutated
from targets import TARGETS, Target

from selfedit.errors import SelfEditError

SECONDS = 5.0
BLOCK = 1000
"""Inputs that are drawn from one seed, and noted together."""
STAGES = (0.03, 0.2, 1.0)
"""Shares of a campaign after which every target has had its part of it."""
_HOPELESS = 30.0  # where Python can still be interrupted


@dataclass
class Tally:
    """What was tried of one target.

    Attributes:
        inputs: how many.
        seconds: what they took, on the wall.
        slowest: of one input, in this process's own seconds.
        wrong: the first input of each kind of failure, in hexadecimal.
    """

    inputs: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    wrong: dict[str, str] = field(default_factory=dict[str, str])


class _Hopeless(BaseException):
    """An input that takes for ever."""


@contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _Hopeless

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, _HOPELESS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def wrong(target: Target, folder: Path, data: bytes) -> tuple[str | None, float]:
    """What an input made of a reader that it must not (an exception and its place, or the time),
    and its seconds.
    """
    failure, start = None, time.process_time()
    try:
        with _limited():
            target.run(folder, data)
    except SelfEditError:
        pass
    except _Hopeless:
        failure = "endless"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # those of libraries written in Rust are no Exception
        frames = traceback.extract_tb(error.__traceback__)
        names = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-2:]]
        failure = f"{type(error).__name__} at {' > '.join(names)}"
    seconds = time.process_time() - start
    return failure or ("slow" if seconds > SECONDS else None), seconds


def campaign(name: str, inputs: int, folder: Path, tally: Tally, last: Path | None = None) -> None:
    """Try more inputs of one target, a block at the most, drawn by the number of the block.

    Args:
        name: the target's.
        inputs: how many.
        folder: where readers find their files.
        tally: what was tried before, and will have been.
        last: keeps the input that is being read, for whoever finds this process ended.
    """
    draw = random.Random(f"{name} {tally.inputs // BLOCK}")
    target, start = TARGETS[name], time.monotonic()
    for _ in range(inputs):
        data = mutated(draw.choice(target.seeds), draw)
        if last is not None:
            last.write_bytes(name.encode() + b"\n" + data)
        failure, seconds = wrong(target, folder, data)
        tally.slowest = max(tally.slowest, seconds)
        if failure:
            tally.wrong.setdefault(failure, data.hex())
    tally.inputs += inputs
    tally.seconds += time.monotonic() - start


def read_state(path: Path) -> dict[str, Tally]:
    """What was tried before, for the targets there still are."""
    stored = json.loads(path.read_text()) if path.exists() else {}
    return {name: Tally(**stored.get(name, {})) for name in TARGETS}


def write_state(path: Path, tallies: dict[str, Tally]) -> None:
    """Note what was tried."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps({name: asdict(tally) for name, tally in tallies.items()}))
    partial.replace(path)


def try_again(name: str, tally: Tally, folder: Path) -> None:
    """Try what went wrong before; keep what still does."""
    before = dict(tally.wrong)
    for kind, data in before.items():
        if kind.startswith("process ended"):
            continue  # it would end this one too: remove it from the state to try it again
        del tally.wrong[kind]
        if failure := wrong(TARGETS[name], folder, bytes.fromhex(data))[0]:
            tally.wrong[failure] = data


def shown(name: str, tally: Tally) -> str:
    """A target's line, and a line for each kind of failure."""
    lines = [
        f"{name:20} {tally.inputs:9,} inputs, {len(tally.wrong)} kinds wrong,"
        f" {tally.seconds:6.0f} s, the slowest {tally.slowest:.2f} s"
    ]
    lines += [
        f"  {kind}: {bytes.fromhex(data)!r:.300}" for kind, data in sorted(tally.wrong.items())
    ]
    return "\n".join(lines)


def goal(name: str, inputs: int) -> int:
    """A target's share of so many inputs."""
    weights = sum(target.weight for target in TARGETS.values())
    return -(-inputs * TARGETS[name].weight // weights)


def fuzz_target(
    name: str, inputs: int, folder: Path, tallies: dict[str, Tally], state: Path
) -> None:
    """Try inputs of one target until so many were, a block after the other."""
    tally, last = tallies[name], state.with_suffix(".last")
    while tally.inputs < inputs:
        block = BLOCK - tally.inputs % BLOCK
        campaign(name, min(block, inputs - tally.inputs), folder, tally, last)
        write_state(state, tallies)


def note_end(state: Path) -> None:
    """Note which input a process ended at, and pass over the rest of its block."""
    tallies, last = read_state(state), state.with_suffix(".last")
    name, data = last.read_bytes().split(b"\n", 1)
    tally = tallies[name.decode()]
    number = sum(kind.startswith("process ended") for kind in tally.wrong)
    tally.wrong[f"process ended {number}"] = data.hex()
    tally.inputs += BLOCK - tally.inputs % BLOCK
    write_state(state, tallies)


def main(inputs: int = 1_000_000, state: Path = Path("runs/fuzz.json")) -> int:
    """Fuzz in a process of its own, and again where one is ended by an input; its exit status."""
    while True:
        words = [sys.executable, __file__, str(inputs), str(state), "here"]
        status = subprocess.run(words, check=False).returncode
        if status >= 0:
            return status
        note_end(state)


def fuzz(inputs: int, state: Path) -> int:
    """Fuzz every target up to its share of so many inputs; the number of kinds of failures."""
    logging.disable()
    tallies = read_state(state)
    with tempfile.TemporaryDirectory() as folder:
        for name, tally in tallies.items():
            try_again(name, tally, Path(folder))
        write_state(state, tallies)
        for stage in STAGES:
            for name in TARGETS:
                fuzz_target(name, goal(name, round(stage * inputs)), Path(folder), tallies, state)
            print(f"{stage:.0%}: {sum(tally.inputs for tally in tallies.values()):,}", flush=True)
    print("\n".join(shown(name, tally) for name, tally in tallies.items()))
    found = sum(len(tally.wrong) for tally in tallies.values())
    total = sum(tally.inputs for tally in tallies.values())
    seconds = sum(tally.seconds for tally in tallies.values())
    print(f"{total:,} inputs over {len(TARGETS)} targets, {found} kinds wrong, {seconds:,.0f} s")
    return found


if __name__ == "__main__":
    number, path, *here = [*sys.argv[1:], *["1000000", "runs/fuzz.json"][len(sys.argv) - 1 :]]
    sys.exit((fuzz if here else main)(int(number), Path(path)) > 0)
