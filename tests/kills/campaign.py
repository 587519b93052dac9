"""Runs of the command line are killed in every way and gone on with: they end in equal bytes.

``python tests/kills/campaign.py [KILLS] [SEED]`` (``make kills``): kills the small runs of
``scenarios.py`` in turn, at a random moment, at the N-th call that changes a file, or as soon as a
phase is finished; some are asked to stop by a signal. Prints a line a kill, a line a run with the
running total, and the totals, also when it is stopped early. What is killed where depends on the
seed and the run's number alone. Ends with 1 if anything differed; those runs are in ``kills-wrong``.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parent)]  # started as a program
from children import Command, after_a_phase, at_a_moment, preload, run, share_what_kills_do_not_test
from scenarios import content, make_material, phases, scenarios

IN_A_ROW = 8
"""Kills of one run at the most, before it is left to end."""
LEAST = 0.3
"""Of an undisturbed run's time, what one takes that has only its end to do."""
WAYS = ("moment", "call", "phase", "moment", "call", "phase", "signal", "signals")
ASKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Whole:
    """A run that nobody disturbed: what it left, how long it computed, its calls, its phases."""

    content: dict
    seconds: float
    calls: int
    phases: list[str]


@dataclass(frozen=True)
class Blow:
    """One end that comes too early: in which way, how far on its way (0 to 1)."""

    way: str
    share: float


@dataclass
class Totals:
    """What was done so far."""

    wanted: int
    counted: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    equal: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return sum(count for what, count in self.counted.items() if what.startswith("killed"))

    def line(self) -> str:
        """The running total."""
        return (
            f"{self.kills} of {self.wanted} kills, {self.runs} runs, {self.equal} in equal bytes,"
            f" {sum(self.wrong.values())} wrong, {time.monotonic() - self.begun:.0f} s"
        )

    def lines(self) -> Iterator[str]:
        """Everything that was counted."""
        for what, count in sorted((self.counted + self.wrong).items()):
            yield f"{count:6}  {what}"
        yield f"totals: {self.line()}"


class Campaign:
    """Kills in one folder until there are enough.

    Args:
        folder: where runs are made, one after the other, all under one name: what a run is called
            may stand in what it leaves.
        seed: says what is killed where.
        totals: counted up.
    """

    def __init__(self, folder: Path, seed: int, totals: Totals) -> None:
        self.folder, self.seed, self.totals = folder, seed, totals
        self.run_folder = folder / "run"
        make_material(folder)
        share_what_kills_do_not_test(folder / "model")
        chosen = scenarios(folder).items()
        self.commands = {name: Command.read(words, self.run_folder) for name, words in chosen}
        self.undisturbed: dict[str, Whole] = {}

    def kill_them(self) -> None:
        """Kill until there were so many."""
        names = list(self.commands)
        while self.totals.kills < self.totals.wanted:
            number = self.totals.runs
            name = names[number % len(names)]
            draw = random.Random(f"{self.seed}/{number}")
            blows = [
                Blow(draw.choice(WAYS), draw.random()) for _ in range(draw.randint(1, IN_A_ROW))
            ]
            wrong = self.disturbed(name, blows)
            self.totals.wrong.update(wrong)
            self.totals.equal += not wrong
            self.totals.runs += 1
            if wrong:
                self._keep(f"wrong-{number}")
                _say(f"  run {number}, {name}: WRONG: {dict(wrong)}")
            _say(f"  run {number}, {name}: ended; {self.totals.line()}")
            self._clear()

    def disturbed(self, name: str, blows: list[Blow]) -> Counter[str]:
        """One run that gets blows, then is let to end; what was wrong."""
        command, whole = self.commands[name], self._whole(name)
        for blow in blows:
            if self._is_over(name):
                break
            code, described = self._strike(command, whole, blow)
            if code == 0:
                break
            if -code in ASKED and not self.run_folder.exists():
                continue  # it came before the command's first line
            expected = -signal.SIGKILL if blow.way in ("moment", "call", "phase") else 130
            if code != expected:
                return Counter([f"{described}: exit code {code}, not {expected}"])
            if "Traceback" in self.run_folder.with_suffix(".log").read_text():
                return Counter([f"{described}: a traceback"])
            done = "killed" if code < 0 else "stopped"
            self.totals.counted[f"{done}: {blow.way}"] += 1
            self.totals.counted[f"of: {name}"] += 1
            _say(f"{done} {self.totals.kills}: {name}, {described}")
        if not self._is_over(name):
            code = run(command, self.run_folder).code
            if code != 0:
                return Counter([f"it does not go on: exit code {code}"])
        return _differences(whole.content, content(self.run_folder))

    def _is_over(self, name: str) -> bool:
        """Whether it is a library whose update is finished: started again, it finds nothing new."""
        return name == "library" and phases(self.run_folder) >= {*self._whole(name).phases}

    def _strike(self, command: Command, whole: Whole, blow: Blow) -> tuple[int, str]:
        """One start of a run that is ended early: its exit code, and where that was."""
        done = phases(self.run_folder)
        later = [name for name in whole.phases if name not in done]
        share = blow.share * (LEAST + (1 - LEAST) * len(later) / len(whole.phases))
        if blow.way == "call" and whole.calls:
            call = 1 + int(share * whole.calls)
            return run(command, self.run_folder, call=call).code, f"at call {call}"
        if blow.way == "phase" and later:
            name = later[int(blow.share * len(later))]
            return run(command, self.run_folder, after_a_phase(name)).code, f"after {name!r}"
        numbers = [signal.SIGKILL]
        if "signal" in blow.way:
            many = 1 + int(blow.share * 100) % 4 if blow.way == "signals" else 0
            numbers = [ASKED[int(blow.share * 1000) % len(ASKED)]] * (1 + many)
        stop = at_a_moment(share * whole.seconds, *numbers)
        shown = " ".join(number.name for number in numbers)
        return run(command, self.run_folder, stop).code, f"{shown} at {share * whole.seconds:.2f} s"

    def _whole(self, name: str) -> Whole:
        """The run of a command when nobody disturbs it."""
        if name not in self.undisturbed:
            code, calls, seconds = run(self.commands[name], self.run_folder)
            assert code == 0, self.run_folder.with_suffix(".log").read_text()
            left, steps = content(self.run_folder), sorted(phases(self.run_folder))
            self.undisturbed[name] = Whole(left, seconds, calls, steps)
            _say(f"  {name}: undisturbed in {seconds:.1f} s, {calls} calls, {len(steps)} phases")
            self._clear()
        return self.undisturbed[name]

    def _keep(self, name: str) -> None:
        kept = self.folder / name
        kept.mkdir()
        for left in (self.run_folder, self.run_folder.with_suffix(".log")):
            if left.exists():
                left.rename(kept / left.name)

    def _clear(self) -> None:
        shutil.rmtree(self.run_folder, ignore_errors=True)
        self.run_folder.with_suffix(".log").unlink(missing_ok=True)


def _differences(expected: dict, actual: dict) -> Counter[str]:
    names = sorted(expected.keys() | actual.keys())
    return Counter(f"other: {name}" for name in names if expected.get(name) != actual.get(name))


def _say(line: str) -> None:
    print(line, flush=True)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """The campaign of the command line."""
    preload()
    signal.signal(signal.SIGTERM, _stop)
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    totals, stopped = Totals(kills), False
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a kill is no power cut
    with tempfile.TemporaryDirectory(dir=memory, ignore_cleanup_errors=True) as folder:
        try:
            Campaign(Path(folder), seed, totals).kill_them()
        except KeyboardInterrupt:
            stopped = True
            _say("stopped early")
        finally:
            for line in totals.lines():
                _say(line)
            if totals.wrong:
                shutil.copytree(folder, Path.cwd() / "kills-wrong", dirs_exist_ok=True)
    return 1 if totals.wrong else 130 if stopped else 0


if __name__ == "__main__":
    sys.exit(main())
