"""Rounds of cells: everything a benchmark compares is measured once a round, and stored as soon as
it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from benchmarks.work import BenchWork
from selfedit.config import Settings
from selfedit.lm.load import LanguageModel
from selfedit.run.folder import RunFolder
from selfedit.run.interrupt import Interrupt
from selfedit.run.progress import ProgressSink

WORK = "work.json"


class Named(Protocol):
    """A cell: one contestant with its settings."""

    @property
    def name(self) -> str:
        """Its name in the ledger."""
        ...


def as_loaded(settings: Settings, lm: LanguageModel) -> Settings:
    """The settings with the device and dtype that the model has, whatever ``auto`` came to."""
    return settings.model_copy(
        update={"device": str(lm.device), "dtype": str(lm.dtype).removeprefix("torch.")}
    )


def child_loads(run: RunFolder, settings: Settings, work: BenchWork) -> dict[str, Any]:
    """Write the work where a contestant's process finds it; returns what such a process is told to
    load.
    """
    path: Path = run.path / WORK
    work.write(path)
    return {
        "model": settings.model,
        "device": settings.device,
        "dtype": settings.dtype,
        "work": str(path),
    }


CellT = TypeVar("CellT", bound=Named)


def measure_cells(
    run: RunFolder,
    plan: Sequence[CellT],
    rounds: int,
    measure: Callable[[CellT], dict[str, Any]],
    progress: ProgressSink,
    interrupt: Interrupt | None,
) -> list[tuple[CellT, list[dict[str, Any]]]]:
    """Every cell of every round that the folder does not hold yet; returns all, for each cell what
    its rounds found.

    Rounds one after another interleave the cells, so that a drift of the machine meets all alike.
    Stopped, it goes on with the next cell.
    """

    def key(number: int, cell: Named) -> str:
        return f"round {number} {cell.name}"

    todo = [
        (n, cell) for n in range(rounds) for cell in plan if run.ledger.step(key(n, cell)) is None
    ]
    total = rounds * len(plan)
    with progress.task("measuring", total=total, unit="cells", done=total - len(todo)) as task:
        for number, cell in todo:
            (interrupt or Interrupt()).check()
            run.ledger.finish_step(key(number, cell), measure(cell))
            task.advance(note=cell.name)
    return [(cell, [run.ledger.step(key(n, cell)) or {} for n in range(rounds)]) for cell in plan]
