"""From what was measured to a table: cost of a self-edit, rates, shares, ratios, memory, losses."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.memory import adapter_memory
from benchmarks.work import BenchWork
from selfedit.config import Settings
from selfedit.lm.shape import Shape

if TYPE_CHECKING:
    from benchmarks.inner import Cell, InnerSize

Measured = Sequence[tuple["Cell", Sequence[Mapping[str, Any]]]]
"""Every cell with what each round measured."""

NOTES = (
    "seconds a self-edit are those of all epochs: measured seconds × epochs / timed epochs",
    (
        "the published recipe is not run to its end: the median of its timed steps × the steps of a"
        " self-edit"
    ),
    (
        "MFU: (4·N·tokens + 4·V·D·predicted tokens + 6·P·tokens) / seconds / matrix-product rate of"
        " the same processes; N weights of the decoder's linear modules, V·D the head, P an"
        " adapter's parameters; real tokens only"
    ),
    (
        "careful and ours keep freed memory in the process, as selfedit's command line does; the"
        " published recipe does not"
    ),
    "with several workers, K is what each trains at once, and the memory is that of all together",
    (
        "careful and ours draw the same initial values and the same order, so their losses may"
        " differ by rounding alone"
    ),
)


def inner_results(
    measured: Measured, settings: Settings, size: InnerSize, work: BenchWork, config: Any
) -> dict[str, Any]:
    """The table, and everything it was made from."""
    shape = Shape.of(config)
    seconds = {
        cell.name: _seconds_a_loop(cell, found, settings, size, work) for cell, found in measured
    }
    rows = [_row(cell, found, seconds, settings, size, work, shape) for cell, found in measured]
    for row in rows:
        row |= _ratios(row, rows, seconds)
    memory, losses = extra_memory(measured, settings, shape), _losses(measured)
    return {
        "benchmark": "inner",
        "rows": rows,
        "memory": memory,
        "losses": losses,
        "targets": _targets(rows, memory, losses["largest"]),
        "notes": list(NOTES),
        "work": {
            "source": work.source,
            "hash": work.hash,
            "loops": size.loops,
            "tokens_an_epoch": sum(work.tokens),
        },
        "epochs": {"timed": size.timed_epochs, "of": settings.inner.optim.epochs},
        "settings": settings.model_dump(
            mode="json", include={"model", "device", "dtype", "seed", "inner"}
        ),
        "measured": {cell.name: list(found) for cell, found in measured},
    }


def _seconds_a_loop(
    cell: Cell,
    found: Sequence[Mapping[str, Any]],
    settings: Settings,
    size: InnerSize,
    work: BenchWork,
) -> list[float]:
    """Seconds of one inner loop of all epochs, in each round."""
    epochs = settings.inner.optim.epochs
    if cell.contestant != "published":
        return [f["seconds"] / f["loops"] * epochs / size.timed_epochs for f in found]
    batch = settings.inner.optim.batch_size
    steps = epochs * statistics.mean(-(-len(own) // batch) for own in work.sequences)
    return [statistics.median(f["step_seconds"]) * steps for f in found]


def _row(
    cell: Cell,
    found: Sequence[Mapping[str, Any]],
    seconds: Mapping[str, Sequence[float]],
    settings: Settings,
    size: InnerSize,
    work: BenchWork,
    shape: Shape,
) -> dict[str, Any]:
    lora = lora_of(cell, settings)
    each = statistics.median(seconds[cell.name])
    tokens, predicted = _tokens_a_loop(settings, work)
    computed = tokens / _real_share(cell, found, size, work)
    flops = shape.training_flops(tokens, predicted, lora["rank"], lora["targets"])
    shares = [flops / s / f["rate"] for s, f in zip(seconds[cell.name], found, strict=True)]
    return {
        "contestant": cell.contestant,
        "lora": cell.lora,
        "k": cell.k,
        "workers": cell.workers,
        "threads": cell.threads,
        "seconds": each,
        "rounds": list(seconds[cell.name]),
        "tokens_per_second": tokens / each,
        "computed_per_second": computed / each,
        "padding": 1 - tokens / computed,
        "mfu": statistics.median(shares),
        "peak": statistics.median(f["peak"] for f in found),
        "peak_of": found[0]["peak_of"],
    }


def lora_of(cell: Cell, settings: Settings) -> dict[str, Any]:
    """Rank and targets of a cell's adapter."""
    from benchmarks.published import LORA

    if cell.lora == "published":
        return {"rank": LORA.rank, "targets": LORA.targets}
    return {"rank": settings.inner.lora.rank, "targets": settings.inner.lora.targets}


def _tokens_a_loop(settings: Settings, work: BenchWork) -> tuple[float, float]:
    """Mean tokens of one inner loop, and of those the ones that carry loss."""
    epochs, loops = settings.inner.optim.epochs, len(work.sequences)
    predicted = sum(sum(s.loss[1:]) for own in work.sequences for s in own)
    return epochs * sum(work.tokens) / loops, epochs * predicted / loops


def _real_share(
    cell: Cell, found: Sequence[Mapping[str, Any]], size: InnerSize, work: BenchWork
) -> float:
    """Real tokens among those that went through the model."""
    if cell.contestant == "published":
        lengths = [len(s.ids) for own in work.sequences for s in own]
        return statistics.mean(lengths) / size.pad_to
    return statistics.mean(f["tokens"] / f["computed"] for f in found)


def _ratios(
    row: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    seconds: Mapping[str, Sequence[float]],
) -> dict[str, Any]:
    """How many times cheaper than the published recipe, and than the careful loop with the same
    adapter.

    Round by round, then the median: what a round of the machine's time slows, it slows on both
    sides.
    """
    published = next(r for r in rows if r["contestant"] == "published")
    careful = next(r for r in rows if r["contestant"] == "careful" and r["lora"] == row["lora"])
    return {
        "ratio_to_published": _median_ratio(published["rounds"], row["rounds"]),
        "ratio_to_careful": _median_ratio(careful["rounds"], row["rounds"]),
    }


def _median_ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


def extra_memory(measured: Measured, settings: Settings, shape: Shape) -> dict[str, Any] | None:
    """Memory that one more adapter takes beyond its parameters, gradients and two Adam states.

    The slope between the smallest and the largest K of one process, so that the model and
    everything else that K does not change cancels; beside it the adapter's activations by
    `Shape.activations`. None with a single K.
    """
    cells = [
        (c, f)
        for c, f in measured
        if c.contestant == "together" and c.lora == "recipe" and c.workers == 1
    ]
    if len(cells) < 2:
        return None
    (low, at_low), (high, at_high) = (
        min(cells, key=lambda c: c[0].k),
        max(cells, key=lambda c: c[0].k),
    )
    peaks, steps = (
        tuple(statistics.median(f[key] for f in found) for found in (at_low, at_high))
        for key in ("peak", "largest_step")
    )
    return adapter_memory(shape, settings, (low.k, high.k), peaks, steps)


def _losses(measured: Measured) -> dict[str, Any]:
    """Final losses (the mean of the last timed epoch) of the careful loop and of each of ours, job
    by job.
    """
    careful = {c.lora: f[0]["final_losses"] for c, f in measured if c.contestant == "careful"}
    by_cell = {}
    for cell, found in measured:
        if cell.contestant == "together":
            ours, theirs = found[0]["final_losses"], careful[cell.lora]
            gaps = [abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True)]
            by_cell[cell.name] = {"ours": ours, "relative": gaps, "largest": max(gaps)}
    return {
        "careful": careful,
        "together": by_cell,
        "largest": max(cell["largest"] for cell in by_cell.values()),
    }


def _targets(
    rows: Sequence[Mapping[str, Any]], memory: Mapping[str, Any] | None, gap: float
) -> list[dict[str, Any]]:
    """The figures this library sets itself, and what was reached."""
    ours = [r for r in rows if r["contestant"] == "together"]
    same = [r for r in ours if r["lora"] == "recipe"]
    best = min(same, key=lambda r: r["seconds"])
    found = [
        _target(
            "× cheaper than the published recipe",
            "≥",
            45,
            max(r["ratio_to_published"] for r in ours),
        ),
        _target("× cheaper than the careful loop", "≥", 2, best["ratio_to_careful"]),
        _target("share of the matrix-product rate (MFU)", "≥", 0.65, max(r["mfu"] for r in same)),
        _target("padding among tokens computed", "≤", 0.08, best["padding"]),
        _target(
            "largest relative difference of a final loss to the careful loop's", "≤", 1e-3, gap
        ),
    ]
    if memory is not None:
        share = memory["extra"] / memory["activations"]
        found.append(_target("extra memory an adapter / its activations", "≤", 1, share))
    return found


def _target(figure: str, sign: str, bound: float, value: float) -> dict[str, Any]:
    met = value >= bound if sign == "≥" else value <= bound
    return {"figure": figure, "bound": f"{sign} {bound:g}", "measured": value, "met": met}
