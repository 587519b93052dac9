"""``bench inner``: what a self-edit's inner loop costs by the published recipe, by a careful loop,
and by ours.

Every cell (a contestant with its settings) has processes of its own with all cores of the machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.children import all_at_once, children
from benchmarks.extras import check_extras
from benchmarks.inner_rows import inner_results
from benchmarks.measuring import as_loaded, child_loads, measure_cells
from benchmarks.published import LORA as PUBLISHED
from benchmarks.published import PAD_TO
from benchmarks.work import BenchWork, make_work
from selfedit.config import Settings
from selfedit.errors import UsageError
from selfedit.lm.load import load
from selfedit.rl.grouping import form_groups
from selfedit.rl.opening import open_folder
from selfedit.run.interrupt import Interrupt
from selfedit.run.progress import SILENT, ProgressSink

KIND = "bench-inner"


def default_workers() -> int:
    """One process of one thread for every core."""
    return max(
        1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


@dataclass(frozen=True)
class InnerSize:
    """How much is measured.

    Attributes:
        passages, edits: the work is their product, ``loops`` inner loops of it (more repeat it with
            other seeds).
        loops: inner loops each contestant runs.
        together: K, adapters trained in one pass.
        published_together: the same with the published adapter (rank 32 on q and v).
        timed_epochs: epochs that are run; costs are scaled to those of the settings.
        steps: optimiser steps of the published recipe that are timed.
        rounds: times every cell is measured.
        workers: processes of one thread each, beside one process with all threads.
        pad_to: tokens the published recipe pads to.
        rate_size: side of the square matrices of the matrix-product rate.
    """

    passages: int = 8
    edits: int = 3
    loops: int = 32
    together: tuple[int, ...] = (1, 4, 8, 16, 32)
    published_together: tuple[int, ...] = (8, 16)
    timed_epochs: int = 2
    steps: int = 3
    rounds: int = 2
    workers: int = field(default_factory=default_workers)
    pad_to: int = PAD_TO
    rate_size: int = 2048


QUICK = InnerSize(
    edits=1, loops=8, together=(4, 8), published_together=(8,), timed_epochs=1, steps=1, rounds=1
)
"""Under five minutes on two idle cores."""


@dataclass(frozen=True)
class Cell:
    """One contestant with its settings.

    Attributes:
        contestant: "published", "careful" or "together".
        lora: which adapter: "published" or "recipe" (the settings').
        k: adapters in one pass.
        workers: processes.
        threads: of each.
    """

    contestant: str
    lora: str
    k: int
    workers: int
    threads: int

    @property
    def name(self) -> str:
        """Its name in the ledger."""
        return f"{self.contestant}/{self.lora}/K{self.k}/{self.workers}x{self.threads}"


def cells(size: InnerSize, threads: int) -> list[Cell]:
    """Everything that is measured, in the order of a round."""
    made = [Cell("published", "published", 1, 1, threads)]
    made += [Cell("careful", lora, 1, 1, threads) for lora in ("recipe", "published")]
    for lora, ks in (("recipe", size.together), ("published", size.published_together)):
        made += [Cell("together", lora, k, 1, threads) for k in ks if k <= size.loops]
        if size.workers > 1:
            # Every worker has K adapters at a time; with fewer loops than that, K would be another.
            made += [
                Cell("together", lora, k, size.workers, 1)
                for k in ks
                if k * size.workers <= size.loops
            ]
    return made


def bench_inner(
    folder: str | Path,
    settings: Settings,
    size: InnerSize,
    *,
    self_edits: Path | None = None,
    passages: str | None = None,
    progress: ProgressSink = SILENT,
    interrupt: Interrupt | None = None,
) -> dict[str, Any]:
    """Measure every cell that the folder does not hold yet; returns what is written to
    ``results.json``.

    Args:
        folder: made if it is not there; what was measured in it is not measured again.
        settings: model, device, dtype, the adapter and its optimiser.
        size: how much is measured.
        self_edits, passages: see `make_work`.
        progress: where progress goes.
        interrupt: how the user stops it, after the cell in hand.

    Raises:
        UsageError: the settings cannot be measured.
        Unavailable: a package of the contestants is missing, or a process died.
    """
    check_extras()
    if size.timed_epochs > settings.inner.optim.epochs:
        what = (
            f"{size.timed_epochs} epochs are to be timed, an inner loop has"
            f" {settings.inner.optim.epochs}"
        )
        raise UsageError(
            what, where="--timed-epochs", fix="time fewer, or raise inner.optim.epochs"
        )
    lm = load(settings.model, device=settings.device, dtype=settings.dtype)
    work = make_work(
        lm, settings, passages=size.passages, edits=size.edits, loops=size.loops,
        self_edits=self_edits, passage_file=passages,
    )  # fmt: skip
    settings, config = as_loaded(settings, lm), lm.model.config
    del lm
    frozen = {"settings": _measured(settings), "size": asdict(size), "work": work.hash}
    with open_folder(folder, frozen, {"work": work.hash}, kind=KIND) as run:
        loaded, log = child_loads(run, settings, work), run.path / "children.log"
        plan = cells(size, default_workers())

        def one(cell: Cell) -> dict[str, Any]:
            return _measure(log, cell, settings, size, work, loaded)

        measured = measure_cells(run, plan, size.rounds, one, progress, interrupt)
        results = inner_results(measured, settings, size, work, config)
        run.write_results(results)
    return results


def _measured(settings: Settings) -> dict[str, Any]:
    return settings.model_dump(
        mode="json", include={"model", "device", "dtype", "seed", "inner", "edit", "answer"}
    )


def _measure(
    log: Path,
    cell: Cell,
    settings: Settings,
    size: InnerSize,
    work: BenchWork,
    loaded: dict[str, Any],
) -> dict[str, Any]:
    ours = cell.contestant == "together"
    keep = cell.contestant != "published"
    lora, optim = specs(cell, settings, size)
    # Jobs of like length together, as a run forms its groups.
    ordered = sorted(range(size.loops), key=lambda n: (work.orders[n], -work.tokens[n], n))
    with children(log, cell.workers, **loaded, ours=ours, threads=cell.threads, keep=keep) as made:
        each = [{"size": size.rate_size, "times": 5}] * cell.workers
        rate = sum(answer["flops"] for answer in all_at_once(made, "rate", each))
        if cell.contestant == "published":
            request = {
                "job": ordered[0],
                "lora": lora,
                "optim": optim,
                "steps": size.steps,
                "pad_to": size.pad_to,
            }
            return {"rate": rate, **all_at_once(made, "published", [request])[0]}
        if cell.contestant == "careful":
            request = {"jobs": list(range(size.loops)), "lora": lora, "optim": optim}
            return {"rate": rate, **all_at_once(made, "careful", [request])[0]}
        groups = form_groups(ordered, cell.k, cell.workers)
        shares = [groups[worker :: cell.workers] for worker in range(cell.workers)]
        warm = [{"group": share[0], "lora": lora, "optim": optim} for share in shares]
        all_at_once(made, "warm_up", warm)
        start = time.perf_counter()
        answers = all_at_once(
            made, "together", [{"groups": share, "lora": lora, "optim": optim} for share in shares]
        )
        return {"rate": rate, **_joined(answers, shares, time.perf_counter() - start)}


def specs(cell: Cell, settings: Settings, size: InnerSize) -> tuple[dict[str, Any], dict[str, Any]]:
    """The adapter's and the optimiser's settings of a cell, as plain data."""
    lora = settings.inner.lora.model_dump()
    if cell.lora == "published":
        lora = asdict(PUBLISHED)
    return lora, settings.inner.optim.model_dump() | {"epochs": size.timed_epochs}


def _joined(
    answers: Sequence[dict[str, Any]], shares: Sequence[list[list[int]]], seconds: float
) -> dict[str, Any]:
    """The workers' answers as one: wall time, sums, and the losses in the order of the work."""
    summed = {
        key: sum(a[key] for a in answers)
        for key in ("loops", "tokens", "predicted", "computed", "peak")
    }
    order = [job for share in shares for group in share for job in group]
    losses = [loss for answer in answers for loss in answer["final_losses"]]
    by_job = [loss for _, loss in sorted(zip(order, losses, strict=True))]
    largest = max(answer["largest_step"] for answer in answers)
    return {
        **summed,
        "seconds": seconds,
        "worker_seconds": [answer["seconds"] for answer in answers],
        "final_losses": by_job,
        "largest_step": largest,
        "peak_of": answers[0]["peak_of"],
    }
