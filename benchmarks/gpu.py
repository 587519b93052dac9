"""``bench gpu``: inner loops and answering on a GPU, on random weights of a real model's shape.

Every part is stored as soon as it is measured. The work is like the published writer's: a self-edit
is eight sequences an epoch on average, seven lines of some thirty tokens and a passage of a hundred
and seventy, ten epochs, batch 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.careful import initial_values, train_with_peft
from benchmarks.published import timed_steps
from benchmarks.random_model import hold, plain_random_model, random_config
from benchmarks.rate import matrix_rate, now
from selfedit.errors import UsageError
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
from selfedit.lm.generate import generate
from selfedit.lm.load import LanguageModel, usable_device
from selfedit.lm.lora import ALL_LINEAR, LoraSpec
from selfedit.lm.shape import Shape
from selfedit.storage.files import canonical_json, write_atomic

PUBLISHED = LoraSpec(rank=32, alpha=64, targets=("q_proj", "v_proj"))
ALL = LoraSpec(rank=16, alpha=32, targets=ALL_LINEAR)
EPOCHS = 10


def gpu_jobs(
    count: int, spec: LoraSpec, epochs: int, vocabulary: int, seed: int = 0
) -> list[AdaptJob]:
    """Inner loops of the published writer's sizes on random tokens, each with a data order of its
    own.
    """
    random = np.random.default_rng(seed)
    jobs = []
    for k in range(count):
        lines = random.integers(16, 49, size=random.integers(5, 10)).tolist()
        lengths = [*lines, int(random.integers(100, 241))]
        sequences = []
        for length in lengths:
            ids = tuple(random.integers(0, vocabulary, length).tolist())
            sequences.append(TrainSequence(ids, (False, *[True] * (length - 1))))
        jobs.append(AdaptJob(sequences, spec, OptimSpec(lr=1e-3, epochs=epochs), seed=k))
    return jobs


def tokens_of(jobs: Sequence[AdaptJob]) -> int:
    """Training tokens of all epochs."""
    return sum(
        job.optim.epochs * sum(len(s.ids) for s in job.sequences if not isinstance(s, str))
        for job in jobs
    )


class GpuBench:
    """The parts of ``bench gpu``; each adds a row to a file of JSON lines."""

    def __init__(
        self, shape: str, device: torch.device, dtype: torch.dtype, out: Path, seen: OnPart
    ) -> None:
        self.shape, self.device, self.dtype, self.out, self.seen = shape, device, dtype, out, seen
        self.rows: list[dict[str, Any]] = []
        self.base = plain_random_model(shape, device, dtype)
        self.sizes = Shape.of(random_config(shape))
        self.vocabulary = self.sizes.vocabulary
        self.rate = matrix_rate(device, dtype, 8192 if device.type == "cuda" else 512, 5)
        self.note(
            "machine",
            card=_card(device),
            torch=torch.__version__,
            rate=self.rate,
            shape=shape,
            dtype=str(dtype),
        )

    def note(self, part: str, **row: Any) -> None:
        """Write a row and show it."""
        self.rows.append({"part": part, **row})
        text = json.dumps(self.rows[-1])
        self.seen(text)
        with self.out.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def hold(self) -> LanguageModel:
        """The model in this library's hands; transformers' own blocks are gone after it."""
        return hold(self.base, self.shape, self.device, self.dtype)

    def published(self, steps: int = 3) -> None:
        """Steps of the published recipe, one adapter at a time, padded to 2,048."""
        job = gpu_jobs(1, PUBLISHED, 1, self.vocabulary)[0]
        seconds = timed_steps(self.base, job, steps, 2048, 0)
        each = sorted(seconds)[len(seconds) // 2]
        per_edit = each * len(job.sequences) * EPOCHS
        self.note("published recipe", step_seconds=each, seconds_per_self_edit=per_edit)

    def careful(self, spec: LoraSpec, epochs: int, name: str) -> list[float]:
        """A careful PEFT loop on one job; the losses of every step."""
        job = gpu_jobs(1, spec, epochs, self.vocabulary)[0]
        initial = initial_values(self.base, job.lora, job.seed)
        warm = replace(job, sequences=job.sequences[:2], optim=replace(job.optim, epochs=1))
        train_with_peft(self.base, warm, initial)
        start = now(self.device)
        _, losses = train_with_peft(self.base, job, initial)
        seconds = now(self.device) - start
        self.note(
            f"careful PEFT loop, {name}", seconds_per_self_edit=seconds * EPOCHS / epochs,
            ms_per_step=1e3 * seconds / len(losses), losses_last=losses[-len(job.sequences) :],
        )  # fmt: skip
        return losses

    def together(
        self, lm: LanguageModel, spec: LoraSpec, jobs: int, rows: int, epochs: int, name: str
    ) -> None:
        """Our loops: ``jobs`` of them, ``rows`` at once."""
        made = gpu_jobs(jobs, spec, epochs, self.vocabulary)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        start = now(self.device)
        adapters = adapt(lm, made, rows=rows, on_device=True)
        seconds = now(self.device) - start
        tokens = tokens_of(made)
        predicted = tokens - sum(job.steps for job in made)
        flops = self.sizes.training_flops(tokens, predicted, spec.rank, spec.targets)
        self.note(
            f"ours, {name}", jobs=jobs, rows=rows, epochs=epochs, seconds=seconds,
            seconds_per_self_edit=seconds / jobs * EPOCHS / epochs, tokens_per_second=tokens / seconds,
            mfu=flops / seconds / self.rate, ms_per_step=1e3 * seconds * rows / sum(job.steps for job in made),
            peak_gb=torch.cuda.max_memory_allocated() / 1e9 if self.device.type == "cuda" else None,
            first_loss=adapters[0].losses[0], losses_last=adapters[0].losses[-len(made[0].sequences) :],
            finite=all(np.isfinite(adapter.losses).all() for adapter in adapters),
        )  # fmt: skip

    def answering(
        self, lm: LanguageModel, adapters: int, questions: int, new_tokens: int, prompt: int = 40
    ) -> None:
        """Trained adapters answer together."""
        made = gpu_jobs(adapters, PUBLISHED, 1, self.vocabulary)
        trained = adapt(lm, [replace(j, sequences=j.sequences[:1]) for j in made], on_device=True)
        random = np.random.default_rng(1)
        rows = [
            random.integers(0, self.vocabulary, prompt).tolist()
            for _ in range(adapters * questions)
        ]
        chosen = [trained[n // questions] for n in range(len(rows))]
        for turn in ("first", "second"):
            start = now(self.device)
            done = generate(lm, rows, chosen, max_new_tokens=new_tokens)
            seconds = now(self.device) - start
            written = sum(len(one.ids) for one in done)
            self.note(
                f"answering, {adapters} adapters × {questions}, {turn} call",
                tokens=written,
                seconds=seconds,
                tokens_per_second=written / seconds,
            )

    def counted(self, lm: LanguageModel, spec: LoraSpec, rows: int, epochs: int, name: str) -> None:
        """Kernels, launches, copies to the host and waits of a step, and how long the device was
        busy.
        """
        made = gpu_jobs(rows, spec, epochs, self.vocabulary)
        activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
        with profile(activities=activities) as recorded:
            start = now(self.device)
            adapt(lm, made, on_device=True)
            seconds = now(self.device) - start
        steps = sum(job.steps for job in made) / rows
        kinds: dict[str, float] = {
            "kernels": 0,
            "launches": 0,
            "waits": 0,
            "copies to host": 0,
            "busy": 0.0,
        }
        slow: dict[str, float] = {}
        for event in recorded.events() or ():
            on_device = event.device_type.name == "CUDA"
            if on_device:
                kinds["kernels"] += 1
                kinds["busy"] += event.device_time_total / 1e6
                kinds["copies to host"] += "DtoH" in event.name
                slow[event.name] = slow.get(event.name, 0.0) + event.device_time_total / 1e3
            else:
                kinds["launches"] += "Launch" in event.name
                kinds["waits"] += "Synchronize" in event.name
        busy = kinds.pop("busy")
        top = sorted(slow.items(), key=lambda item: -item[1])[:40]
        self.note(
            f"profile, {name}", rows=rows, seconds=seconds, busy_share=busy / seconds,
            per_step={kind: count / steps for kind, count in kinds.items()},
            slowest_ms_per_step={kernel[:70]: round(ms / steps, 3) for kernel, ms in top},
        )  # fmt: skip


def _card(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


OnPart = Callable[[str], None]
"""Told each part's row, as JSON, when it is measured."""


def bench_gpu(
    shape: str, folder: Path, *, device: str, quick: bool = False, seen: OnPart = lambda _: None
) -> dict[str, Any]:
    """Inner loops and answering on random weights of a real model's shape; also in
    ``folder/parts.jsonl`` as it goes.

    Args:
        shape: a name of `benchmarks.random_model.SHAPES`, or a ``config.json``.
        folder: where ``results.json`` goes.
        device: a CUDA device; any other, for a look at the parts alone.
        quick: a few adapters and one epoch.
        seen: told each part when it is measured.

    Raises:
        UsageError: no such shape.
    """
    place = usable_device(device)
    dtype = torch.bfloat16 if place.type == "cuda" else torch.float32
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a name that no folder can have
        raise UsageError(f"the folder cannot be made: {error}", where=folder) from error
    bench = GpuBench(shape, place, dtype, folder / "parts.jsonl", seen)
    epochs, large = (1, 4) if quick else (4, 64)
    bench.careful(PUBLISHED, 1 if quick else 2, "q and v, rank 32")
    if place.type == "cuda":
        bench.published(2)
    lm = bench.hold()
    bench.together(lm, PUBLISHED, min(8, large), min(8, large), 1, "q and v, rank 32, warm-up")
    bench.together(lm, PUBLISHED, 1, 1, 1 if quick else EPOCHS, "q and v, rank 32")
    bench.together(lm, PUBLISHED, large, large // 2, epochs, "q and v, rank 32")
    bench.together(lm, PUBLISHED, large, large, min(3, epochs), "q and v, rank 32")
    bench.together(lm, PUBLISHED, 2 * large, large, epochs + 2, "q and v, rank 32")
    bench.together(
        lm,
        ALL,
        3 * large // 4,
        3 * large // 8,
        1 if quick else EPOCHS,
        "all linear modules, rank 16",
    )
    bench.answering(lm, large // 2, 5, 32)
    if place.type == "cuda":
        bench.counted(lm, PUBLISHED, large // 2, 1, "q and v, rank 32")
    results = {"benchmark": "gpu", "rows": bench.rows, "notes": list(NOTES)}
    write_atomic(folder / "results.json", canonical_json(results))
    return results


NOTES = (
    (
        "random weights of the model's shape; a self-edit is 5 to 9 lines of 16 to 48 tokens and a"
        " passage of 100 to 240, 10 epochs, batch 1, every inner loop with a data order of its own"
    ),
    (
        "s/self-edit is of ten epochs: measured seconds × 10 / epochs measured; drawing the initial"
        " values and capturing the graphs are included"
    ),
    (
        "jobs / K: inner loops in all and trained at once; one that waits takes the row of one that"
        " ends"
    ),
    (
        "MFU: (4·N·tokens + 4·V·D·predicted tokens + 6·P·tokens) / seconds / rate of the product of"
        " two 8192² matrices"
    ),
    (
        "careful PEFT loop: one adapter at a time, fused AdamW, no padding; published recipe: steps"
        " of 2,048 tokens"
    ),
)
