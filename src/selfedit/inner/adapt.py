"""The inner loop: many small trainings as one.

Every step takes each unfinished job's next batch, packs all of them end to end without padding, runs one forward and
one backward pass, and lets each adapter take its own AdamW step. A finished job no longer takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from selfedit.errors import DataError, UsageError
from selfedit.inner.job import AdaptJob, TrainSequence
from selfedit.inner.lessons import lessons
from selfedit.inner.order import Batch, batches
from selfedit.inner.outside import Outside
from selfedit.lm.attention import Packed
from selfedit.lm.bank import AdapterBank
from selfedit.lm.below import stand_on
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.loss import head_loss
from selfedit.lm.segments import consecutive, make_segments
from selfedit.lm.teacher import teacher_loss

MAX_PADDING = 0.125
"""Padding tokens per real token up to which a step's sequences are padded to one length."""

OnStep = Callable[[int, int], None]
"""Called after every optimiser step with (training tokens done, training tokens in all)."""


@dataclass
class _Run:
    """One job in training."""

    slot: int
    job: AdaptJob
    sequences: list[TrainSequence]
    order: Iterator[Batch]
    coming: Batch | None
    generator: torch.Generator
    optimiser: torch.optim.AdamW
    row: torch.nn.Parameter
    losses: list[float]
    outside: Outside | None = None
    tokens: int = 0


def tokenise(lm: LanguageModel, sequence: str | TrainSequence) -> TrainSequence:
    """A text as a training sequence: every token carries loss, and an end-of-text token is added."""
    if isinstance(sequence, TrainSequence):
        return sequence
    ids = (*lm.encode(sequence), lm.end_id)
    return TrainSequence(ids, (False, *[True] * (len(ids) - 1)))


def adapt(lm: LanguageModel, jobs: Sequence[AdaptJob], on_step: OnStep | None = None) -> list[Adapter]:
    """Train one adapter a job, all in the same passes through the model.

    Adapter k is the same, within rounding, as if it were trained alone. All of them, their gradients and their Adam
    states are in memory at once: to bound that, give the jobs a few at a time (a run's ``inner.group``).

    Raises:
        DataError: a job has no sequence, or one whose tokens carry no loss, or a token outside its alphabet does.
        UsageError: jobs with different alphabets.
    """
    if not jobs:
        return []
    sequences = [[tokenise(lm, s) for s in job.sequences] for job in jobs]
    for number, of_job in enumerate(sequences):
        _check(number, of_job, lm.max_tokens)
    head = _head(lm, jobs, sequences)
    # The longest first: those that still train stand side by side in the bank, and are used as they stand.
    places = sorted(range(len(jobs)), key=lambda k: (-jobs[k].optim.epochs, -len(sequences[k]), k))
    bank = AdapterBank(lm.model, [jobs[k].lora for k in places], train=True)
    stand_on(lm.model, bank, [jobs[k].start for k in places])
    runs = [_start(bank, slot, jobs[k], sequences[k]) for slot, k in enumerate(places)]
    total = sum(run.job.optim.epochs * sum(len(s.ids) for s in run.sequences) for run in runs)
    with bank.attached():
        active = _next_batches(runs)
        while active:
            _step(lm, bank, active, head)
            if on_step:
                on_step(sum(run.tokens for run in runs), total)
            active = _next_batches(runs)
    trained = {
        k: Adapter(run.job.lora, bank.take(run.slot), lm.name, run.losses, run.tokens)
        for k, run in zip(places, runs, strict=True)
    }
    return [trained[k] for k in range(len(jobs))]


def _check(number: int, sequences: Sequence[TrainSequence], limit: int) -> None:
    if not sequences:
        raise DataError("there is nothing to train on", where=f"job {number}", fix="give at least one sequence")
    for index, sequence in enumerate(sequences):
        where = f"job {number}, sequence {index}"
        if len(sequence.ids) != len(sequence.loss):
            raise DataError(f"{len(sequence.ids)} tokens but {len(sequence.loss)} loss marks", where=where)
        if not any(sequence.loss[1:]):
            raise DataError("no token of the sequence carries loss", where=where)
        if sequence.teacher is not None and len(sequence.teacher.hidden) != sum(sequence.loss[1:]):
            what = f"the teacher has {len(sequence.teacher.hidden)} states, {sum(sequence.loss[1:])} tokens carry loss"
            raise DataError(what, where=where)
        if len(sequence.ids) > limit:
            what = f"the sequence has {len(sequence.ids)} tokens, the model takes {limit}"
            raise DataError(what, where=where, fix="split the text into shorter passages")


def _start(bank: AdapterBank, k: int, job: AdaptJob, sequences: list[TrainSequence]) -> _Run:
    bank.initialise(k, job.seed)
    generator = torch.Generator().manual_seed(job.seed)
    row = torch.nn.Parameter(bank.values[k])
    optim = job.optim
    optimiser = torch.optim.AdamW(
        [row], lr=optim.lr, betas=optim.betas, eps=optim.eps, weight_decay=optim.weight_decay, fused=True
    )
    order = batches(job, [len(s.ids) for s in sequences])
    outside = None if job.outside is None else Outside(bank, k, job.outside)
    return _Run(k, job, sequences, order, next(order, None), generator, optimiser, row, [], outside)


def _next_batches(runs: Sequence[_Run]) -> list[tuple[_Run, list[TrainSequence]]]:
    """The jobs that take part in the next step: of those that share an order, the ones at its earliest place."""
    places: dict[int, tuple[int, float]] = {}
    for run in runs:
        if run.coming is not None:
            first = places.get(run.job.ordering)
            places[run.job.ordering] = run.coming.when if first is None else min(first, run.coming.when)
    active = []
    for run in runs:
        if run.coming is not None and run.coming.when == places[run.job.ordering]:
            active.append((run, [run.sequences[i] for i in run.coming.indices]))
            run.coming = next(run.order, None)
    return active


@dataclass(frozen=True)
class _Head:
    """The rows of the output matrix that are computed, and each token's place among them (None: its own id)."""

    matrix: Tensor  # [V or A, D]
    places: dict[int, int] | None

    def targets(self, tokens: list[int]) -> Tensor:
        at = tokens if self.places is None else [self.places[token] for token in tokens]
        return torch.tensor(at, device=self.matrix.device)


def _head(lm: LanguageModel, jobs: Sequence[AdaptJob], sequences: Sequence[Sequence[TrainSequence]]) -> _Head:
    alphabet = jobs[0].alphabet
    if any(job.alphabet != alphabet for job in jobs):
        raise UsageError("jobs with different alphabets cannot train together", fix="adapt them in calls of their own")
    if alphabet is None:
        return _Head(lm.head, None)
    places = {token: place for place, token in enumerate(alphabet)}
    for number, of_job in enumerate(sequences):
        predicted = {t for s in of_job for t, loss in zip(s.ids[1:], s.loss[1:], strict=True) if loss}
        if strange := predicted - places.keys():
            what = f"token {min(strange)} carries loss and is not in the alphabet"
            raise DataError(what, where=f"job {number}", fix="give every token that is to be predicted")
    return _Head(lm.head[torch.tensor(alphabet, device=lm.head.device)], places)


def _step(
    lm: LanguageModel, bank: AdapterBank, active: Sequence[tuple[_Run, list[TrainSequence]]], head: _Head
) -> None:
    """One forward and backward pass for all, one AdamW step each."""
    assert bank.grads is not None
    device = bank.values.device
    batch = _pack(active, len(bank.specs))
    bank.assign(make_segments(batch.owners, device, lm.dtype))
    counts = [(run.slot, len(batch.owners[run.slot]), run.generator) for run, _ in active]
    bank.draw_dropout(counts, len(batch.ids))
    hidden = lm.hidden(batch.ids, batch.positions, Packed(make_segments(consecutive(batch.lengths), device, lm.dtype)))
    rows = torch.tensor(batch.rows, device=device)
    targets = head.targets(batch.targets)
    weights = torch.tensor(batch.weights, device=device, dtype=bank.values.dtype)
    predicting = hidden.index_select(0, rows)
    loss, losses = head_loss(predicting, head.matrix, targets, weights)
    weighted = losses * weights
    if (taught := lessons([sequences for _, sequences in active], device, weights.dtype)) is not None:
        divergence, divergences = teacher_loss(predicting[taught.places], head.matrix, taught.hidden, taught.weights)
        loss = loss + divergence
        weighted = weighted.index_add(0, taught.places, divergences * taught.weights)
    loss.backward()
    _log_losses(active, weighted, batch.spans)
    for run, _ in active:
        _update(run, bank.grads[run.slot])


@dataclass
class _Batch:
    ids: list[int]
    positions: list[int]
    lengths: list[int]
    owners: list[list[int]]
    rows: list[int]
    targets: list[int]
    weights: list[float]
    spans: list[int]


def _pack(active: Sequence[tuple[_Run, list[TrainSequence]]], adapters: int) -> _Batch:
    """All jobs' sequences end to end. Row t predicts the token at t + 1; a job's loss is the mean over its own."""
    batch = _Batch([], [], [], [[] for _ in range(adapters)], [], [], [], [])
    length = _common_length(active)
    for run, sequences in active:
        marked = sum(sum(s.loss[1:]) for s in sequences)
        for s in sequences:
            start = len(batch.ids)
            ids = s.ids + s.ids[-1:] * (length - len(s.ids))
            batch.ids.extend(ids)
            batch.positions.extend(range(len(ids)))
            batch.lengths.append(len(ids))
            batch.owners[run.slot].extend(range(start, start + len(ids)))
            predicted = [t for t in range(1, len(s.ids)) if s.loss[t]]
            batch.rows.extend(start + t - 1 for t in predicted)
            batch.targets.extend(s.ids[t] for t in predicted)
            batch.weights.extend([s.weight / marked] * len(predicted))
        batch.spans.append(marked)
        run.tokens += sum(len(s.ids) for s in sequences)
    return batch


def _common_length(active: Sequence[tuple[_Run, list[TrainSequence]]]) -> int:
    """A length to pad every sequence of the step to on the right, or 0 to pad none.

    Sequences of one length need no gathering of tokens for attention and adapters. That is worth a little padding: no
    token before it can see it, and it carries no loss. Not with dropout, where a job's masks must not depend on how
    much padding the others make it carry.
    """
    if any(run.job.lora.dropout for run, _ in active):
        return 0
    lengths = [len(s.ids) for _, sequences in active for s in sequences]
    even = len({len(sequences) for _, sequences in active}) == 1
    return max(lengths) if even and max(lengths) * len(lengths) <= (1 + MAX_PADDING) * sum(lengths) else 0


def _log_losses(active: Sequence[tuple[_Run, object]], weighted: Tensor, spans: Sequence[int]) -> None:
    for (run, _), part in zip(active, weighted.split(list(spans)), strict=True):
        run.losses.append(float(part.sum()))


def _update(run: _Run, grad: Tensor) -> None:
    optim = run.job.optim
    if optim.clip is not None:
        # The same rule as torch.nn.utils.clip_grad_norm_.
        grad.mul_(torch.clamp(optim.clip / (grad.norm() + 1e-6), max=1.0))
    run.optimiser.param_groups[0]["lr"] = optim.rate(len(run.losses) - 1, run.job.steps)
    run.row.grad = grad
    run.optimiser.step()
    if run.outside is not None:
        run.outside.project()
