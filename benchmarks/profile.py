"""``bench profile``: where the time of adapting and of answering goes, and how fast their products
run.

torch's profiler counts every operation's own time and, for products, its operations. They are put
into a few kinds; what no operation accounts for is Python's and the dispatcher's. The profiler
itself costs some percent, so the seconds are for comparing kinds with one another and not with
another benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.answering import NONE, to_answer
from benchmarks.measuring import as_loaded
from benchmarks.memory import adapter_memory, peak_allocated
from benchmarks.rate import matrix_rate, now
from benchmarks.work import BenchWork, longest_step, make_work
from selfedit.config import Settings
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.lm.generate import generate
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import LoraSpec
from selfedit.lm.shape import Shape
from selfedit.run.progress import SILENT, ProgressSink

WEIGHTS = "products with the weights"
BATCHED = "batched products (adapters, decode attention)"
KINDS: dict[str, tuple[str, ...]] = {
    WEIGHTS: ("aten::mm", "aten::addmm"),
    BATCHED: ("aten::bmm", "aten::baddbmm"),
    "attention": ("aten::_scaled_dot_product",),
    "gathers and copies": (
        "aten::index", "aten::_index", "aten::copy_", "aten::cat", "aten::gather", "aten::fill_",
    ),
    "AdamW and clipping": ("aten::_fused_adamw", "aten::linalg_vector_norm"),
}  # fmt: skip
"""Kinds of work, and how the names of their operations begin."""
REST = "norms, activations, softmax, sums"
PYTHON = "Python and dispatch"
PRODUCTS = (WEIGHTS, BATCHED)
TRIES = 2
"""Profiles of one work, of which the fastest is shown."""


def bench_profile(
    settings: Settings, *, together: int = 8, adapters: int = 16, rows: int = 64, questions: int = 4,
    new_tokens: int = 24, rate_size: int = 2048, progress: ProgressSink = SILENT,
) -> dict[str, Any]:  # fmt: skip
    """Profile one epoch of inner loops together, adapters answering together, and rows without an
    adapter.

    Args:
        settings: model, device, dtype, the adapter and its optimiser.
        together: inner loops in one pass.
        adapters: that answer together, each ``questions`` prompts.
        rows: prompts decoded at once without an adapter.
        questions: of each adapter.
        new_tokens: written after each prompt.
        rate_size: side of the square matrices of the matrix-product rate.
        progress: where progress goes.

    Returns:
        For each work its seconds, and for each kind its seconds, its share of them and, for
        products, operations a second, as such and as a share of the matrix-product rate. And the
        memory given to the tensors of one more adapter in a step, beside its activations by
        `Shape.activations`.
    """
    lm = load(settings.model, device=settings.device, dtype=settings.dtype)
    settings = as_loaded(settings, lm)
    work = make_work(
        lm,
        settings,
        passages=8,
        edits=1,
        loops=max(8, together),
        self_edits=None,
        passage_file=None,
    )
    spec = LoraSpec(**settings.inner.lora.model_dump())
    optim = replace(OptimSpec(**settings.inner.optim.model_dump()), epochs=1)
    jobs = [work.job(n, spec, optim) for n in range(together)]
    loops = len(work.prompts)
    adapted = [(a, a % loops, q) for a in range(adapters) for q in range(questions)]
    plain = [(NONE, n % loops, n // loops % questions) for n in range(rows)]
    works: list[tuple[str, Callable[[], object]]] = [
        (f"adapting, {together} inner loops together", lambda: adapt(lm, jobs)),
        (
            f"answering, {adapters} adapters × {questions}",
            _answering(lm, work, adapted, spec, new_tokens),
        ),
        (f"answering, {rows} rows, no adapter", _answering(lm, work, plain, spec, new_tokens)),
    ]
    rate = matrix_rate(lm.device, lm.dtype, rate_size, times=5)
    found = []
    with progress.task("profiling", total=len(works), unit="works") as task:
        for name, run in works:
            run()  # warms up
            # The profiler's records lie among the buffers, and the first time these then move to
            # untouched memory.
            tries = [_profiled(run, rate, lm.device) for _ in range(TRIES)]
            found.append({"work": name, **min(tries, key=lambda one: one["seconds"])})
            task.advance(note=name)
    memory = _memory(lm, [longest_step(job) for job in jobs], settings)
    return {
        "benchmark": "profile",
        "rate": rate,
        "threads": torch.get_num_threads(),
        "rows": found,
        "memory": memory,
        "targets": [] if memory is None else [_target(memory["extra"] / memory["activations"])],
        "notes": [
            (
                f"one process, {torch.get_num_threads()} threads; matrix-product rate of two"
                f" {rate_size}² matrices: {rate / 1e9:.0f}·10⁹ operations a second"
            ),
            (
                f"each work is profiled {TRIES} times after a run without the profiler; the fastest"
                " is shown"
            ),
            "of rate: operations a second of those products, as a share of that rate",
            "at best: what the work would take if everything but its products cost nothing",
        ],
        "settings": settings.model_dump(mode="json", include={"model", "device", "dtype", "inner"}),
    }


def _target(share: float) -> dict[str, Any]:
    figure = "tensors of one more adapter beyond parameters, gradients, Adam / its activations"
    return {"figure": figure, "bound": "≤ 1", "measured": share, "met": share <= 1}


def _memory(
    lm: LanguageModel, steps: Sequence[AdaptJob], settings: Settings
) -> dict[str, Any] | None:
    """What one more adapter's tensors take in a step: from half of the inner loops to all; None
    with a single one.
    """
    few = steps[: len(steps) // 2]
    if not few:
        return None
    adapt(lm, few)  # what the first call of all makes is not its step's
    peaks = [peak_allocated(lambda some=some: adapt(lm, some), lm.device) for some in (few, steps)]
    tokens = [
        sum(len(s.ids) for job in some for s in job.sequences if not isinstance(s, str))
        for some in (few, steps)
    ]
    ks = (len(few), len(steps))
    return adapter_memory(
        Shape.of(lm.model.config), settings, ks, (peaks[0], peaks[1]), (tokens[0], tokens[1])
    )


def _answering(
    lm: LanguageModel,
    work: BenchWork,
    rows: Sequence[tuple[int, int, int]],
    spec: LoraSpec,
    new_tokens: int,
) -> Callable[[], object]:
    endless, prompts, adapters = to_answer(lm, work, rows, spec)
    return lambda: generate(endless, prompts, adapters, max_new_tokens=new_tokens)


def _profiled(run: Callable[[], object], rate: float, device: torch.device) -> dict[str, Any]:
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as recorded:
        start = now(device)
        run()
        seconds = now(device) - start
    times: dict[str, float] = dict.fromkeys([*KINDS, REST], 0.0)
    flops = dict.fromkeys(times, 0.0)
    for event in recorded.key_averages():
        if event.key.startswith("aten::"):
            kind = _kind(event.key)
            times[kind] += event.self_cpu_time_total / 1e6
            flops[kind] += event.flops or 0
    times[PYTHON] = max(0.0, seconds - sum(times.values()))
    kinds = [
        {
            "kind": kind,
            "seconds": spent,
            "share": spent / seconds,
            "of_rate": _of_rate(kind, flops, spent, rate),
        }
        for kind, spent in times.items()
    ]
    return {
        "seconds": seconds,
        "kinds": kinds,
        "at_best": sum(times[kind] for kind in PRODUCTS) / seconds,
    }


def _of_rate(kind: str, flops: dict[str, float], seconds: float, rate: float) -> float | None:
    return flops[kind] / seconds / rate if kind in PRODUCTS and seconds and flops[kind] else None


def _kind(operation: str) -> str:
    return next((kind for kind, starts in KINDS.items() if operation.startswith(starts)), REST)
