"""Initial values drawn ahead, on threads of their own: a 7B model's adapter is ten million random
numbers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from torch import Tensor

from selfedit.inner.job import AdaptJob
from selfedit.inner.plan import Step
from selfedit.lm.bank import AdapterBank

AHEAD = 16
"""Adapters drawn and not yet taken, at the most."""


class InitialValues:
    """The initial rows of a plan's jobs, in the order in which they start."""

    def __init__(self, bank: AdapterBank, jobs: Sequence[AdaptJob], steps: Sequence[Step]) -> None:
        self._bank, self._jobs = bank, jobs
        # The order is known from the plan, so the next rows can be drawn before they are asked
        # for.
        self._order = iter([job for step in steps for _, job in step.started])
        self._drawn: dict[int, Future[Tensor]] = {}
        # Threads are enough: torch lets go of the interpreter's lock while it draws.
        self._pool = ThreadPoolExecutor(min(AHEAD, os.cpu_count() or 1))
        for _ in range(AHEAD):
            self._draw_next()

    def __enter__(self) -> InitialValues:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Drawn rows nobody will take are dropped; a draw in progress is waited for.
        self._pool.shutdown(cancel_futures=True)

    def take(self, job: int) -> Tensor:
        """The initial values of a job, ``[drawn]`` on the CPU; jobs are asked for in the order in
        which they start.
        """
        row = self._drawn.pop(job).result()
        # One taken, one begun: never more than AHEAD rows in memory.
        self._draw_next()
        return row

    def _draw_next(self) -> None:
        job = next(self._order, None)
        if job is not None:
            self._drawn[job] = self._pool.submit(self._row, job)

    def _row(self, job: int) -> Tensor:
        return self._bank.initial(self._jobs[job].lora, self._jobs[job].seed)
