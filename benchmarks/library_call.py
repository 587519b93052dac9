"""``bench adapt``: `selfedit.adapt` as a plain script calls it, beside a careful PEFT loop.

An inner loop is a passage's first sentences, one sequence each, and the passage; every loop has
seeds of its own, rank 8 on the query and value projections, batch 1. Both contestants run in this
process with torch's own number of threads; they take turns, loop by loop of the careful one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from benchmarks.careful import initial_values, train_with_peft
from benchmarks.extras import check_extras
from selfedit.inner.adapt import adapt, tokenise
from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import LoraSpec
from selfedit.models.names import model_path
from selfedit.models.quiet import quiet
from selfedit.storage.files import canonical_json, write_atomic
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.units import cut_sentences

Train = Callable[[Sequence[AdaptJob]], list[list[float]]]

CAREFUL, TOGETHER = "careful loop", "selfedit.adapt"
LORA = LoraSpec(rank=8, alpha=16, targets=("q_proj", "v_proj"))


def library_jobs(
    lm: LanguageModel, passages: str, count: int, lines: int, epochs: int, seed: int
) -> list[AdaptJob]:
    """Inner loops of the first ``count`` passages."""
    optim = OptimSpec(lr=1e-3, epochs=epochs)
    contexts = load_contexts(passages)[:count]
    jobs = []
    for number, context in enumerate(contexts):
        own = islice(cycle(cut_sentences(context.text)), lines)
        sequences = tuple(tokenise(lm, text) for text in (*own, context.text))
        jobs.append(AdaptJob(sequences, LORA, optim, seed=seed + number))
    return jobs


def bench_adapt(
    model: str,
    passages: str,
    out: Path,
    *,
    count: int = 8,
    lines: int = 6,
    epochs: int = 1,
    rounds: int = 2,
    layers: Sequence[tuple[int, ...]] = (),
    seed: int = 0,
    on_part: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure, and store ``results.json`` in ``out``.

    Args:
        model: a short name or a folder.
        passages: what `selfedit.load_contexts` reads.
        out: the folder.
        count: inner loops, K.
        lines: sentences of each.
        epochs: of each.
        rounds: times each side is measured, after one epoch of each that is not counted.
        layers: decoder layers that get adapters, each choice a side of its own beside the two that
            have them in all layers.
        seed: of the first loop.
        on_part: told of every measurement.

    Raises:
        Unavailable: peft is not installed.
    """
    check_extras()
    lm = load(model, device="cpu")
    with quiet():
        base = AutoModelForCausalLM.from_pretrained(
            model_path(model), attn_implementation="sdpa", dtype=torch.float32, use_safetensors=True
        ).requires_grad_(False)
    jobs = library_jobs(lm, passages, count, lines, epochs, seed)
    initial = [initial_values(base, job.lora, job.seed) for job in jobs]

    def careful(jobs: Sequence[AdaptJob]) -> list[list[float]]:
        pairs = zip(jobs, initial, strict=True)
        return [train_with_peft(base, job, values)[1] for job, values in pairs]

    def ours(jobs: Sequence[AdaptJob]) -> list[list[float]]:
        return [adapter.losses for adapter in adapt(lm, list(jobs))]

    def ours_in(chosen: tuple[int, ...]) -> Train:
        lora = replace(LORA, layers=chosen)
        return lambda jobs: ours([replace(job, lora=lora) for job in jobs])

    sides: dict[str, Train] = {CAREFUL: careful, TOGETHER: ours}
    for chosen in layers:
        sides[f"{TOGETHER}, layers {chosen[0]}–{chosen[-1]}"] = ours_in(chosen)

    short = [replace(job, optim=replace(job.optim, epochs=1)) for job in jobs]
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    losses: dict[str, list[list[float]]] = {}
    for number in range(rounds + 1):
        for name, train in sides.items():
            start = time.perf_counter()
            losses[name] = train(jobs if number else short)
            took = time.perf_counter() - start
            on_part(f"{name}: {took:.1f} s{'' if number else ' (one epoch, not counted)'}")
            if number:
                seconds[name].append(took)
    tokens = [len(s.ids) for job in jobs for s in job.sequences if not isinstance(s, str)]
    results = {
        "benchmark": "adapt",
        "model": model,
        "passages": passages,
        "jobs": len(jobs),
        "epochs": epochs,
        "tokens": epochs * sum(tokens),
        "longest": max(tokens),
        "threads": torch.get_num_threads(),
        "rows": [_row(name, took, seconds[CAREFUL]) for name, took in seconds.items()],
        "loss_difference": _difference(losses[TOGETHER], losses[CAREFUL]),
    }
    ratio = results["rows"][1]["ratio"]
    results["targets"] = [
        {"figure": "× the careful loop", "bound": "≥ 2", "measured": ratio, "met": ratio >= 2}
    ]
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "results.json", canonical_json(results))
    return results


def _row(name: str, took: list[float], careful: list[float]) -> dict[str, Any]:
    """A side's seconds, and the median over rounds of how many times as long the careful loop took
    in the same round.
    """
    ratio = median(theirs / ours for theirs, ours in zip(careful, took, strict=True))
    return {"name": name, "seconds": took, "median": median(took), "ratio": ratio}


def _difference(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """The largest difference of two losses of one step."""
    pairs = zip(ours, theirs, strict=True)
    return max(abs(a - b) for one, two in pairs for a, b in zip(one, two, strict=True))
