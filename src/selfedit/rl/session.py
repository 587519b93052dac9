"""What every stage of a run needs at hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from selfedit.config import Settings
from selfedit.engine.base import Engine
from selfedit.engine.local import LocalEngine
from selfedit.grading.grader import Grader
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.run.folder import RunFolder
from selfedit.run.interrupt import Interrupt
from selfedit.run.ledger import TimingRow
from selfedit.run.progress import SILENT, ProgressSink
from selfedit.tasks.task import Task

T = TypeVar("T", bound=Task[Any])


@dataclass
class Session(Generic[T]):
    """One process's work on a run of one kind of task.

    Attributes:
        run: the run's folder.
        lm: the model; its weights are the current policy's.
        task: turns contexts and self-edits into prompts and inner loops.
        settings: the run's settings.
        grader: says whether an answer is right.
        progress: where progress goes.
        interrupt: asked between steps whether the user wants to stop.
        engine: where inner loops run; this process unless said otherwise.
        weights: names the model's present weights: its fingerprint, or the hash of the policy merged last.
        start: a frozen adapter that inner loops start on top of; None is the model itself.
    """

    run: RunFolder
    lm: LanguageModel
    task: T
    settings: Settings
    grader: Grader
    progress: ProgressSink = SILENT
    interrupt: Interrupt = field(default_factory=Interrupt)
    engine: Engine = None  # pyright: ignore[reportAssignmentType] - set below, from the model
    weights: str = ""

    start: Adapter | None = None
    start_name: str = ""

    def __post_init__(self) -> None:
        self.engine = self.engine or LocalEngine(self.lm)
        self.weights = self.weights or self.lm.fingerprint

    def stand_on(self, start: Adapter | None, name: str = "") -> None:
        """Start inner loops, and ask the base, on top of an adapter; ``name`` tells it from others."""
        self.start, self.start_name = start, name if start is not None else ""

    @property
    def base(self) -> str:
        """Names what the base's answers come from: the weights, and the adapter they stand under."""
        return f"{self.weights}+{self.start_name}" if self.start is not None else self.weights


@contextmanager
def timed(rows: list[TimingRow], phase: str, round: int, part: str, count: int) -> Iterator[None]:
    """Append what the block took to ``rows``."""
    start = time.perf_counter()
    yield
    rows.append(TimingRow(phase=phase, round=round, part=part, seconds=time.perf_counter() - start, count=count))
