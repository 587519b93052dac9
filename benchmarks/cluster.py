"""A cluster whose workers sleep instead of training: what the driver, Ray and the ledger cost.

Everything but the arithmetic is real: calls and results of real size go through Ray to workers and
back, `selfedit.engine.pool` gives them out, trials are stored in a run's own ledger. Workers are
threads of a few actors here, since one machine has no room for hundreds of processes.
"""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
from ray import cloudpickle

from selfedit.engine.base import Done, Trained
from selfedit.engine.crew import Outcome
from selfedit.engine.pool import Pool
from selfedit.engine.ray_crew import ended_calls
from selfedit.lm.generate import Completion
from selfedit.run.interrupt import own_signals
from selfedit.run.ledger import Ledger
from selfedit.run.records import Answer, Phase, Place, TimingRow, Training, Trial

ANSWER_TOKENS, STEPS, PROMPT_TOKENS = 12, 80, 400
PLACE = Place(Phase.RL, round=1)


@dataclass(frozen=True)
class Shape:
    """The work of a simulation.

    Attributes:
        workers: that work at the same time.
        trials: in all.
        loops: a group has.
        questions: a trial answers.
        seconds: a group takes.
    """

    workers: int
    trials: int
    loops: int = 16
    questions: int = 5
    seconds: float = 1.0

    @property
    def groups(self) -> int:
        """That the trials make."""
        return -(-self.trials // self.loops)


class Sleeper:
    """An actor of many threads, each a worker."""

    def hello(self) -> str:
        """What says that it is there."""
        return "a sleeper"

    def do(self, work: bytes, loops: int, questions: int, seconds: float) -> Done:
        """Sleep, then give back what a group gives back."""
        time.sleep(seconds)
        answer = Completion(
            text="an answer of some words, as they come",
            ids=(7,) * ANSWER_TOKENS,
            finish="stop",
            prompt_tokens=60,
        )
        loop = Trained((1.5,) * STEPS, len(work), (answer,) * questions)
        return Done((loop,) * loops, 0.9 * seconds, 0.1 * seconds)


class SleepingCrew:
    """See `selfedit.engine.pool.Crew`: workers are threads of the actors given."""

    def __init__(self, shape: Shape, actors: Sequence[Any]) -> None:
        self._shape, self._actors, self._hired = shape, actors, 0
        # Of the size of a group's texts and questions, as ids.
        self._work = bytes(4 * PROMPT_TOKENS * shape.loops)

    def wanted(self) -> int:
        """See `Crew`."""
        return self._shape.workers

    def hire(self) -> tuple[Any, Any]:
        """See `Crew`; the number tells threads of one actor apart."""
        actor = self._actors[self._hired % len(self._actors)]
        self._hired += 1
        return (actor, self._hired), actor.hello.remote()

    def call(self, worker: Any, work: object) -> Any:
        """See `Crew`."""
        shape = self._shape
        return worker[0].do.remote(self._work, shape.loops, shape.questions, shape.seconds)

    def ended(self, calls: Sequence[Any], seconds: float) -> list[Any]:
        """See `Crew`."""
        return ended_calls(calls, seconds)

    def outcome(self, call: Any) -> Outcome:
        """See `Crew`: nobody dies here."""
        return Outcome("done", ray.get(call))

    def cancel(self, call: Any) -> None:
        """See `Crew`."""
        raise NotImplementedError("a simulation runs to its end")

    def dismiss(self, worker: Any) -> None:
        """Its thread ends with the actor."""

    def about(self) -> str:
        """See `Crew`."""
        return f"{self._shape.workers} sleeping workers"


def bench_cluster(shape: Shape, out: Path) -> dict[str, Any]:
    """Run one simulation; what it took, as a row of numbers."""
    hosts = min(8, shape.workers)
    # Workers need not find this module: it does not come with the package.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with own_signals():
        ray.init(
            address="local",
            num_cpus=hosts,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    try:
        threads = -(-shape.workers // hosts)
        remote: Any = ray.remote  # its types know other keywords
        make = remote(num_cpus=1, max_concurrency=threads)(Sleeper)
        actors = [make.remote() for _ in range(hosts)]
        ray.get([actor.hello.remote() for actor in actors])
        pool = Pool(SleepingCrew(shape, actors), tries=1, start_seconds=300)
        out.mkdir(parents=True, exist_ok=True)
        (out / "ledger.sqlite").unlink(missing_ok=True)
        with Ledger(out / "ledger.sqlite") as ledger:
            row = _measure(shape, pool, ledger)
        pool.close()
    finally:
        ray.shutdown()
    return row | _afterwards(shape, out)


def _measure(shape: Shape, pool: Pool[Any, Any], ledger: Ledger) -> dict[str, Any]:
    pool.cards()
    cpu, start = time.process_time(), time.perf_counter()
    for index, done in pool.share(range(shape.groups), lambda: None):
        assert isinstance(done, Done)
        timing = TimingRow(place=PLACE, part="adapting", seconds=done.adapting, count=shape.loops)
        ledger.add_trials(_trials(shape, index, done), [timing])
    wall = time.perf_counter() - start
    # What the sleeping of all groups comes to, of what all workers could have slept meanwhile.
    busy = shape.groups * shape.seconds / (wall * shape.workers)
    return {
        "workers": shape.workers,
        "trials": shape.groups * shape.loops,
        "seconds": wall,
        "trials_per_second": shape.groups * shape.loops / wall,
        "busy": busy,
        "driver_cores": (time.process_time() - cpu) / wall,
        "driver_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _trials(shape: Shape, index: int, done: Done) -> list[Trial]:
    """As a run stores them: eight candidates a context."""
    trials: list[Trial] = []
    for number, loop in enumerate(done.loops):
        training = Training(
            seed=number, steps=len(loop.losses), tokens=loop.tokens, final_loss=loop.losses[-1],
            seconds=shape.seconds / shape.loops, settings_hash="simulated",
        )  # fmt: skip
        answers = tuple(
            Answer(
                question_id=f"q{k}", text=reply.text, tokens=len(reply.ids), correct=k % 2 == 0,
                score=0.5, grader="none", seconds=0.01,
            )
            for k, reply in enumerate(loop.answers)
        )  # fmt: skip
        context, candidate = divmod(index * shape.loops + number, 8)
        trials.append(
            Trial(
                place=PLACE, context_id=f"c{context}", candidate=candidate, training=training,
                answers=answers,
            )
        )  # fmt: skip
    return trials


def _afterwards(shape: Shape, out: Path) -> dict[str, Any]:
    """What going on costs, and a look at all accuracies, in the file that was written."""
    start = time.perf_counter()
    with Ledger(out / "ledger.sqlite") as ledger:
        done = len(ledger.done(PLACE))
        resumed = time.perf_counter() - start
        right = sum(row.right for row in ledger.verdicts(PLACE))
        reported = time.perf_counter() - start - resumed
    assert done == shape.groups * shape.loops and right > 0
    return {
        "ledger_bytes": (out / "ledger.sqlite").stat().st_size,
        "resume_seconds": resumed,
        "report_seconds": reported,
        "cores": psutil.cpu_count(),
    }


COLUMNS = (
    "workers", "trials", "s", "trials/s", "workers busy %", "driver cores", "driver MB",
    "ledger MB", "resume s", "report s",
)  # fmt: skip


def cells(row: dict[str, Any]) -> list[str]:
    """A row as its table shows it."""
    return [
        str(row["workers"]),
        str(row["trials"]),
        f"{row['seconds']:.0f}",
        f"{row['trials_per_second']:.0f}",
        f"{100 * row['busy']:.1f}",
        f"{row['driver_cores']:.2f}",
        f"{row['driver_bytes'] / 1e6:.0f}",
        f"{row['ledger_bytes'] / 1e6:.0f}",
        f"{row['resume_seconds']:.1f}",
        f"{row['report_seconds']:.1f}",
    ]
