"""The inner loop: many small trainings as one.

Every step takes each running job's next batch, packs all of them end to end, runs one forward and
one backward pass, and lets each adapter take its own AdamW step. A job that has finished leaves its
row of the bank to one that waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from selfedit.errors import DataError, Interrupted, UsageError
from selfedit.inner.checkpoint import Checkpoint
from selfedit.inner.initial import InitialValues
from selfedit.inner.job import AdaptJob, TrainSequence
from selfedit.inner.lower import lower_outputs
from selfedit.inner.optimiser import BankAdamW
from selfedit.inner.outside import Outside
from selfedit.inner.packed import PackedSteps
from selfedit.inner.plan import Material, Step, materials, schedule
from selfedit.inner.static import StaticSteps, can_be_static
from selfedit.inner.trainer import Objective, StepRunner, Training
from selfedit.lm.bank import AdapterBank
from selfedit.lm.below import frozen_bank
from selfedit.lm.cores import OnTokens, in_order, on_cores, share_out
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.lm.segments import IntArray

MIN_TOKENS = 64
"""Tokens a step that every core trains at the least: with fewer, reading the weights takes the time."""

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
    objective: Objective | None = None,
    checkpoint: Checkpoint | None = None,
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
        objective: what is minimised instead of the next-token loss.
        checkpoint: where a single job's training is kept now and then and when ``on_step`` stops
            it; it goes on from there.

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
            return _train_all(lm, jobs, data, head, rows, on_step, on_device, objective, checkpoint)
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


def _train_all(
    lm: LanguageModel,
    jobs: Sequence[AdaptJob],
    data: Sequence[Sequence[Material]],
    head: Tensor,
    rows: int,
    on_step: OnStep | None,
    on_device: bool,
    objective: Objective | None,
    checkpoint: Checkpoint | None,
) -> list[Adapter]:
    """The jobs in one bank; on a CPU with several cores, in as many banks as pay."""
    lengths = [[len(material.ids) for material in own] for own in data]
    loads = [job.optim.epochs * sum(own) for job, own in zip(jobs, lengths, strict=True)]
    done = 0

    def on_tokens(tokens: int) -> None:
        nonlocal done
        done += tokens
        if on_step is not None:
            on_step(done, sum(loads))

    def train(model: LanguageModel, part: Sequence[int], after: OnTokens) -> list[Adapter]:
        chosen, own = [jobs[k] for k in part], [data[k] for k in part]
        held = max(1, rows * len(part) // len(jobs))
        kept = checkpoint if len(jobs) == 1 else None
        return _train(model, chosen, own, head, held, after, on_device, objective, kept)

    most = sum(loads) // (MIN_TOKENS * max(job.steps for job in jobs))
    parts = share_out(lm, loads, most)
    return in_order(parts, on_cores(lm, parts, train, on_tokens))


def _train(
    lm: LanguageModel,
    jobs: Sequence[AdaptJob],
    data: Sequence[Sequence[Material]],
    head: Tensor,
    rows: int,
    after: OnTokens,
    on_device: bool,
    objective: Objective | None,
    checkpoint: Checkpoint | None,
) -> list[Adapter]:
    lengths = [[len(material.ids) for material in of_job] for of_job in data]
    tokens = [job.optim.epochs * sum(of_job) for job, of_job in zip(jobs, lengths, strict=True)]
    static = objective is None and can_be_static(lm, jobs)
    steps = list(schedule(jobs, lengths, rows, aligned=not static))
    bank = AdapterBank(lm.model, _specs(jobs), rows=rows, train=True, narrow_gradients=static)
    frozen = frozen_bank(lm.model, bank, [job.start for job in jobs])
    lower, placed = lower_outputs(lm, jobs, data)
    training = Training(lm, bank, BankAdamW(bank), jobs, placed, lower, head, steps, objective)
    runner: StepRunner = StaticSteps(training) if static else PackedSteps(training)
    fences: dict[int, Outside] = {}
    tensors: dict[int, dict[str, tuple[Tensor, Tensor]]] = {}
    fresh = 0  # tokens since the last look
    begun = 0  # steps that an earlier process has done
    with InitialValues(bank, jobs, steps) as initial, bank.attached():
        for number, step in enumerate(steps):
            for slot, k in step.started:
                bank.begin(slot, jobs[k].lora, initial.take(k))
                training.optimiser.reset(slot)
                if frozen is not None:
                    frozen.put_or_clear(slot, jobs[k].start)
                if (earlier := jobs[k].outside) is not None:
                    fences[k] = Outside(bank, slot, earlier)
            if number == 0 and checkpoint is not None:
                begun = checkpoint.read(training, runner)
            if number >= begun:
                runner.run(number)
            for turn in step.turns:
                if turn.job in fences and number >= begun:
                    fences[turn.job].project()
                fresh += sum(lengths[turn.job][i] for i in turn.sequences)
            for slot, k in step.finished:
                tensors[k] = bank.take(slot, on_device=on_device)
            if number % runner.every == 0 or number == len(steps) - 1:
                runner.wait()
                try:
                    after(fresh)
                except Interrupted:
                    if checkpoint is not None and number >= begun:
                        checkpoint.write(number + 1, training, runner)
                    raise
                fresh = 0
            if checkpoint is not None and number >= begun:
                checkpoint.write_if_due(number + 1, training, runner)
    losses = _losses_by_job(steps, runner.losses(), len(jobs))
    return [
        Adapter(job.lora, tensors[k], lm.name, losses[k], tokens[k]) for k, job in enumerate(jobs)
    ]


def _specs(jobs: Sequence[AdaptJob]) -> list[LoraSpec]:
    """Of the jobs' adapters, and of frozen ones below them, which may have modules that the new one
    does not adapt: rows of zeros there.
    """
    below = [
        replace(job.lora, targets=job.start.spec.targets, layers=job.start.spec.layers)
        for job in jobs
        if job.start is not None
    ]
    return [*[job.lora for job in jobs], *below]


def _losses_by_job(
    steps: Sequence[Step], step_losses: Sequence[Sequence[float]], jobs: int
) -> list[list[float]]:
    losses: list[list[float]] = [[] for _ in range(jobs)]
    for step, turn_losses in zip(steps, step_losses, strict=True):
        for turn, loss in zip(step.turns, turn_losses, strict=True):
            losses[turn.job].append(loss)
    return losses
