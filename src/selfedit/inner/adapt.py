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

from selfedit.errors import DataError, UsageError
from selfedit.inner.checkpoint import Checkpoint
from selfedit.inner.group_loop import sequence_lengths, train_group, training_tokens
from selfedit.inner.job import AdaptJob, TrainSequence
from selfedit.inner.plan import Material, materials
from selfedit.inner.trainer import Objective
from selfedit.lm.cores import OnTokens, in_order, on_cores, share_out
from selfedit.lm.families import targets_in
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.lm.segments import IntArray

MIN_TOKENS = 64
"""Tokens a step that every core trains at the least: with fewer, reading the weights takes the
time.
"""

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
        checkpoint: where the training is kept now and then and when ``on_step`` stops it; it goes
            on from there, with as many threads and rows.

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
    jobs = [replace(job, lora=_lora_of(lm, job.lora)) for job in jobs]
    # Tokenised before anything is allocated: what is wrong with a job shows here.
    head, data = _arrays(lm, jobs)
    rows = len(jobs) if rows is None else max(1, min(rows, len(jobs)))
    while True:
        try:
            return _train_all(lm, jobs, data, head, rows, on_step, on_device, objective, checkpoint)
        except torch.OutOfMemoryError:
            # One adapter alone does not fit: nothing is left to halve.
            if rows == 1:
                raise
        # Outside of the handler: the error's traceback holds the tensors that did not fit.
        # Rounded up: three rows become two, then one.
        rows = -(-rows // 2)
        # The freed blocks go back, or the next try meets the same fragmented memory.
        torch.cuda.empty_cache()
        if on_halved:
            on_halved(rows)


def _lora_of(lm: LanguageModel, spec: LoraSpec) -> LoraSpec:
    """A spec whose targets are named as the model names them."""
    return replace(spec, targets=targets_in(lm.model, spec.targets))


def _arrays(lm: LanguageModel, jobs: Sequence[AdaptJob]) -> tuple[Tensor, list[list[Material]]]:
    """The rows of the output matrix that are computed, and every job's checked sequences."""
    sequences: list[list[TrainSequence]] = []
    for number, job in enumerate(jobs):
        sequences.append([tokenise(lm, sequence) for sequence in job.sequences])
        _check_sequences(number, sequences[-1], lm.max_tokens)
    head, places = _head(lm, jobs, sequences)
    return head, [materials(of_job, places) for of_job in sequences]


def _check_sequences(number: int, sequences: Sequence[TrainSequence], limit: int) -> None:
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
        # The first token is predicted by nothing, so its mark does not count.
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
    # −1 for all other tokens: one that carries loss is refused below.
    places[list(alphabet)] = np.arange(len(alphabet))
    for number, of_job in enumerate(sequences):
        predicted = {
            t for s in of_job for t, loss in zip(s.ids[1:], s.loss[1:], strict=True) if loss
        }
        # Sorted out here: as an index, −1 would silently be the last row.
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
    # What the parts are balanced by: a job's work is its tokens times its epochs.
    loads = training_tokens(jobs, sequence_lengths(data))
    done = 0

    def on_tokens(tokens: int) -> None:
        nonlocal done
        done += tokens
        if on_step is not None:
            on_step(done, sum(loads))

    def train(model: LanguageModel, part: Sequence[int], after: OnTokens) -> list[Adapter]:
        chosen, chosen_data = [jobs[k] for k in part], [data[k] for k in part]
        # Every part gets its share of the rows: memory stays within what was asked for.
        share = max(1, rows * len(part) // len(jobs))
        kept = checkpoint
        # A bank is a file: which jobs and how many rows it has decide what its tensors are.
        if kept is not None and len(jobs) > 1:
            kept = kept.of_bank(part, share, alone=len(parts) == 1)
        return train_group(
            model, chosen, chosen_data, head, share, after, on_device, objective, kept
        )

    # Parts only while each has enough tokens a step: the longest job sets the number of steps.
    most = sum(loads) // (MIN_TOKENS * max(job.steps for job in jobs))
    parts = share_out(lm, loads, most)
    return in_order(parts, on_cores(lm, parts, train, on_tokens))
