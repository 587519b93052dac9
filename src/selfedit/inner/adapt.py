"""The inner loop: many small trainings as one.

Every step takes each running job's next batch, packs all of them end to end, runs one forward and
one backward pass, and lets each adapter take its own AdamW step. A job that has finished leaves its
row of the bank to one that waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from selfedit.errors import DataError, UsageError
from selfedit.inner.initial import InitialValues
from selfedit.inner.job import AdaptJob, TrainSequence
from selfedit.inner.lower import lower_outputs
from selfedit.inner.optimiser import BankAdamW
from selfedit.inner.outside import Outside
from selfedit.inner.packed import PackedSteps
from selfedit.inner.plan import Material, materials, schedule
from selfedit.inner.static import StaticSteps, can_be_static
from selfedit.inner.trainer import StepRunner, Training
from selfedit.lm.bank import AdapterBank
from selfedit.lm.below import frozen_bank
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.segments import IntArray

OnStep = Callable[[int, int], None]
"""Called with (training tokens done, training tokens in all)."""
OnHalved = Callable[[int], None]
"""Called with the adapters trained at once from now on, after memory ran out."""


def tokenise(lm: LanguageModel, sequence: str | TrainSequence) -> TrainSequence:
    """A text as a training sequence: every token carries loss, the end of text included."""
    if isinstance(sequence, TrainSequence):
        return sequence
    ids = lm.document(sequence)
    return TrainSequence(ids, (False, *[True] * (len(ids) - 1)))


def adapt(
    lm: LanguageModel,
    jobs: Sequence[AdaptJob],
    on_step: OnStep | None = None,
    *,
    rows: int | None = None,
    on_device: bool = False,
    on_halved: OnHalved | None = None,
) -> list[Adapter]:
    """Train one adapter a job, in the same passes through the model.

    Adapter k is the same, within rounding, as if it were trained alone. ``rows`` of them, their
    gradients and their Adam states are in memory at once; where they do not fit on a GPU, half as
    many are tried.

    Args:
        lm: the model.
        jobs: what to train.
        on_step: told of progress: after every step on a CPU, every few on a GPU.
        rows: adapters trained at once; the others wait until one has finished. All, if not given.
        on_device: leave the adapters on the model's device.
        on_halved: told when memory ran out, and how many adapters are trained at once after that.

    Raises:
        DataError: a job has no sequence, or one whose tokens carry no loss, or a token outside its
            alphabet does.
        UsageError: jobs with different alphabets; a float16 model.
        torch.OutOfMemoryError: not even one adapter fits.
    """
    if not jobs:
        return []
    if lm.dtype == torch.float16:
        what = "float16 loses small gradients to zero, and nothing here scales the loss"
        raise UsageError(what, where="dtype", fix="train in bfloat16 or float32")
    sequences = [[tokenise(lm, s) for s in job.sequences] for job in jobs]
    for number, of_job in enumerate(sequences):
        _check(number, of_job, lm.max_tokens)
    head, places = _head(lm, jobs, sequences)
    data = [materials(of_job, places) for of_job in sequences]
    rows = len(jobs) if rows is None else max(1, min(rows, len(jobs)))
    while True:
        try:
            return _train(lm, jobs, data, head, rows, on_step, on_device)
        except torch.OutOfMemoryError:
            if rows == 1:
                raise
        # Outside of the handler: the error's traceback holds the tensors that did not fit.
        rows = -(-rows // 2)
        torch.cuda.empty_cache()
        if on_halved:
            on_halved(rows)


def _check(number: int, sequences: Sequence[TrainSequence], limit: int) -> None:
    if not sequences:
        raise DataError(
            "there is nothing to train on", where=f"job {number}", fix="give at least one sequence"
        )
    for index, sequence in enumerate(sequences):
        where = f"job {number}, sequence {index}"
        if len(sequence.ids) != len(sequence.loss):
            raise DataError(
                f"{len(sequence.ids)} tokens but {len(sequence.loss)} loss marks", where=where
            )
        if not any(sequence.loss[1:]):
            raise DataError("no token of the sequence carries loss", where=where)
        if sequence.teacher is not None and len(sequence.teacher.hidden) != sum(sequence.loss[1:]):
            what = (
                f"the teacher has {len(sequence.teacher.hidden)} states, {sum(sequence.loss[1:])}"
                " tokens carry loss"
            )
            raise DataError(what, where=where)
        if len(sequence.ids) > limit:
            what = f"the sequence has {len(sequence.ids)} tokens, the model takes {limit}"
            raise DataError(what, where=where, fix="split the text into shorter passages")


def _head(
    lm: LanguageModel, jobs: Sequence[AdaptJob], sequences: Sequence[Sequence[TrainSequence]]
) -> tuple[Tensor, IntArray | None]:
    """The rows of the output matrix that are computed, and for every token its place among them."""
    alphabet = jobs[0].alphabet
    if any(job.alphabet != alphabet for job in jobs):
        raise UsageError(
            "jobs with different alphabets cannot train together",
            fix="adapt them in calls of their own",
        )
    if alphabet is None:
        return lm.head, None
    places = np.full(len(lm.head), -1)
    places[list(alphabet)] = np.arange(len(alphabet))
    for number, of_job in enumerate(sequences):
        predicted = {
            t for s in of_job for t, loss in zip(s.ids[1:], s.loss[1:], strict=True) if loss
        }
        if strange := predicted - set(alphabet):
            what = f"token {min(strange)} carries loss and is not in the alphabet"
            raise DataError(
                what, where=f"job {number}", fix="give every token that is to be predicted"
            )
    return lm.head[torch.tensor(alphabet, device=lm.head.device)], places


def _train(
    lm: LanguageModel,
    jobs: Sequence[AdaptJob],
    data: Sequence[Sequence[Material]],
    head: Tensor,
    rows: int,
    on_step: OnStep | None,
    on_device: bool,
) -> list[Adapter]:
    lengths = [[len(material.ids) for material in of_job] for of_job in data]
    tokens = [job.optim.epochs * sum(of_job) for job, of_job in zip(jobs, lengths, strict=True)]
    static = can_be_static(lm, jobs)
    steps = list(schedule(jobs, lengths, rows, aligned=not static))
    bank = AdapterBank(
        lm.model, [job.lora for job in jobs], rows=rows, train=True, narrow_gradients=static
    )
    frozen = frozen_bank(lm.model, bank, [job.start for job in jobs])
    lower, placed = lower_outputs(lm, jobs, data)
    training = Training(lm, bank, BankAdamW(bank), jobs, placed, lower, head, steps)
    runner: StepRunner = StaticSteps(training) if static else PackedSteps(training)
    fences: dict[int, Outside] = {}
    tensors: dict[int, dict[str, tuple[Tensor, Tensor]]] = {}
    done, total = 0, sum(tokens)
    with InitialValues(bank, jobs, steps) as initial, bank.attached():
        for number, step in enumerate(steps):
            for slot, k in step.started:
                bank.begin(slot, jobs[k].lora, initial.take(k))
                training.optimiser.reset(slot)
                if frozen is not None:
                    frozen.put_or_clear(slot, jobs[k].start)
                if (earlier := jobs[k].outside) is not None:
                    fences[k] = Outside(bank, slot, earlier)
            runner.run(number)
            for turn in step.turns:
                if turn.job in fences:
                    fences[turn.job].project()
                done += sum(lengths[turn.job][i] for i in turn.sequences)
            for slot, k in step.finished:
                tensors[k] = bank.take(slot, on_device=on_device)
            if on_step and (number % runner.every == 0 or number == len(steps) - 1):
                runner.wait()
                on_step(done, total)
    losses: list[list[float]] = [[] for _ in jobs]
    for step, of_step in zip(steps, runner.losses(), strict=True):
        for turn, loss in zip(step.turns, of_step, strict=True):
            losses[turn.job].append(loss)
    return [
        Adapter(job.lora, tensors[k], lm.name, losses[k], tokens[k]) for k, job in enumerate(jobs)
    ]
