"""The published recipe's way to train: transformers' ``Trainer`` on a PEFT model, every sequence
padded to one length.

The published code pads every sequence to 2,048 with the end token, and the padding carries loss.
Its attention mask is left out here, which is the quicker way to compute the same loss terms.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel

from benchmarks.careful import attach
from selfedit.inner.job import AdaptJob, TrainSequence
from selfedit.lm.lora import LoraSpec
from selfedit.models.quiet import quiet

LORA = LoraSpec(rank=32, alpha=64, targets=("q_proj", "v_proj"))
"""The published adapter."""
PAD_TO = 2048
"""Tokens every sequence is padded to."""
WARM_UP = 1
"""Steps before those that are timed: the first touches fresh memory."""


def timed_steps(
    base: PreTrainedModel, job: AdaptJob, steps: int, pad_to: int, end: int
) -> list[float]:
    """Seconds of ``steps`` optimiser steps of a job under the ``Trainer``; ``base`` is left as it
    was.
    """
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.start = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(time.perf_counter() - self.start)

    rows = [_padded(s, pad_to, end) for s in job.sequences if isinstance(s, TrainSequence)]
    clock, model = Clock(), attach(base, job.lora)
    with tempfile.TemporaryDirectory() as folder, quiet():
        options = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=job.optim.batch_size,
            max_steps=WARM_UP + steps,
            learning_rate=job.optim.lr,
            lr_scheduler_type=job.optim.schedule,
            weight_decay=job.optim.weight_decay,
            max_grad_norm=job.optim.clip or 0.0,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
            use_cpu=base.device.type == "cpu",
            seed=job.seed % 2**31,
        )
        Trainer(model=model, args=options, train_dataset=_Rows(rows), callbacks=[clock]).train()  # pyright: ignore[reportArgumentType]
    model.unload()
    return clock.seconds[WARM_UP:]


def _padded(sequence: TrainSequence, pad_to: int, end: int) -> dict[str, list[int]]:
    ids = [*sequence.ids, *[end] * (pad_to - len(sequence.ids))]
    return {"input_ids": ids, "labels": ids}


class _Rows(list[Any]):
    """What the ``Trainer`` takes for a data set: something with a length and items."""


def typical(seconds: Sequence[float]) -> float:
    """The median."""
    return statistics.median(seconds)
