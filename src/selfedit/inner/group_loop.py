"""One bank's training: the steps of its plan in order, and what happens between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from selfedit.errors import Interrupted
from selfedit.inner.checkpoint import Checkpoint, Matrices
from selfedit.inner.initial import InitialValues
from selfedit.inner.job import AdaptJob
from selfedit.inner.lower import lower_outputs
from selfedit.inner.optimiser import BankAdamW
from selfedit.inner.outside import Outside
from selfedit.inner.packed import PackedSteps
from selfedit.inner.plan import Material, Step, schedule
from selfedit.inner.static import StaticSteps, can_be_static
from selfedit.inner.trainer import Objective, StepRunner, TrainingGroup
from selfedit.lm.bank import AdapterBank
from selfedit.lm.below import FrozenBank, frozen_bank
from selfedit.lm.cores import OnTokens, PartStopped
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter, LoraSpec


def train_group(
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
    """Train jobs in one bank; see `selfedit.inner.adapt.adapt`.

    Args:
        lm: the model.
        jobs: what to train.
        data: each job's sequences as arrays.
        head: the rows of the output matrix that are computed, ``[V or A, D]``.
        rows: adapters trained at once.
        after: told of tokens done.
        on_device: leave the adapters on the model's device.
        objective: what is minimised; None is the next-token loss.
        checkpoint: where the state is kept.
    """
    lengths = sequence_lengths(data)
    # Another objective may do anything with its arrays, so it cannot be recorded as a graph.
    static = objective is None and can_be_static(lm, jobs)
    steps = list(schedule(jobs, lengths, rows, aligned=not static))
    bank = AdapterBank(lm.model, _specs(jobs), rows=rows, train=True, narrow_gradients=static)
    frozen = frozen_bank(lm.model, bank, [job.start for job in jobs])
    # Layers below every adapter are run once for all epochs; None where there are none.
    lower, placed = lower_outputs(lm, jobs, data)
    group = TrainingGroup(lm, bank, BankAdamW(bank), jobs, placed, lower, head, steps, objective)
    runner: StepRunner = StaticSteps(group) if static else PackedSteps(group)
    matrices = _GroupLoop(group, runner, frozen, checkpoint, after, on_device).run()
    # Losses stay on the device until the end: reading one would wait for its step.
    losses = _losses_by_job(steps, runner.losses(), len(jobs))
    tokens = training_tokens(jobs, lengths)
    return [
        Adapter(job.lora, matrices[k], lm.name, losses[k], tokens[k]) for k, job in enumerate(jobs)
    ]


class _GroupLoop:
    """Runs a plan's steps, gives rows to jobs and takes finished adapters out."""

    def __init__(
        self,
        group: TrainingGroup,
        runner: StepRunner,
        frozen: FrozenBank | None,
        checkpoint: Checkpoint | None,
        after: OnTokens,
        on_device: bool,
    ) -> None:
        self._group, self._runner, self._frozen = group, runner, frozen
        self._checkpoint, self._after, self._on_device = checkpoint, after, on_device
        self._fences: dict[int, Outside] = {}
        self._fresh = 0  # tokens since the last look
        # What an earlier process has done.
        self._kept = None if checkpoint is None else checkpoint.read()
        self._begun = 0 if self._kept is None else self._kept.done
        self._matrices: dict[int, Matrices] = {}

    def run(self) -> dict[int, Matrices]:
        """Every step; each job's matrices."""
        group = self._group
        with InitialValues(group.bank, group.jobs, group.steps) as initial, group.bank.attached():
            for number, step in enumerate(group.steps):
                # After the rows have their adapters and before new ones are given out.
                if self._kept is not None and 0 < number == self._begun:
                    self._kept.restore(group, self._runner)
                    self._kept = None  # as large as the bank three times over
                self._start_jobs(step, initial)
                self._step(number, step)
                # Taken before the row goes to the job that waits.
                for slot, k in step.finished:
                    self._matrices[k] = self._taken(number, slot, k)
                self._look(number)
        if self._kept is not None and self._begun:
            self._kept.restore(group, self._runner)  # all steps were done: for their losses
        return self._matrices

    def _taken(self, number: int, slot: int, k: int) -> Matrices:
        """A finished job's matrices; of one that an earlier process finished, what it kept."""
        if self._kept is not None and number < self._begun:
            return self._kept.finished(k)
        return self._group.bank.take(slot, on_device=self._on_device)

    def _start_jobs(self, step: Step, initial: InitialValues) -> None:
        jobs, bank = self._group.jobs, self._group.bank
        for slot, k in step.started:
            bank.begin(slot, jobs[k].lora, initial.take(k))
            self._group.optimiser.reset(slot)
            if self._frozen is not None:
                self._frozen.put_or_clear(slot, jobs[k].start)
            # From the first values on: an initial A may lie in the span too.
            if (earlier := jobs[k].outside) is not None:
                self._fences[k] = Outside(bank, slot, earlier)

    def _step(self, number: int, step: Step) -> None:
        """One step, unless an earlier process has done it: the plan is gone through all the same,
        since rows change hands.
        """
        if number >= self._begun:
            self._runner.run(number)
        for turn in step.turns:
            # After the optimiser's step: what it moved into the span is taken out again.
            if turn.job in self._fences and number >= self._begun:
                self._fences[turn.job].project()
            data = self._group.data[turn.job]
            self._fresh += sum(len(data[index].ids) for index in turn.sequences)

    def _look(self, number: int) -> None:
        """Tell of progress and keep the state, where it is time."""
        group, runner, checkpoint = self._group, self._runner, self._checkpoint
        if number < self._begun:
            checkpoint = None
        if number % runner.every == 0 or number == len(group.steps) - 1:
            # On a GPU the host is ahead: progress told without waiting would be a wish.
            runner.wait()
            try:
                self._after(self._fresh)
            # Another bank's thread was interrupted: this one keeps its state too.
            except (Interrupted, PartStopped):
                if checkpoint is not None:
                    checkpoint.write(number + 1, group, runner, self._matrices)
                raise
            self._fresh = 0
        if checkpoint is None:
            return
        # What this bank has done would be lost with the bank that is stopped after it.
        if checkpoint.at_end and number == len(group.steps) - 1:
            checkpoint.write(number + 1, group, runner, self._matrices)
        else:
            checkpoint.write_if_due(number + 1, group, runner, self._matrices)


def sequence_lengths(data: Sequence[Sequence[Material]]) -> list[list[int]]:
    """Tokens of every sequence of every job."""
    lengths: list[list[int]] = []
    for of_job in data:
        lengths.append([len(material.ids) for material in of_job])
    return lengths


def training_tokens(jobs: Sequence[AdaptJob], lengths: Sequence[Sequence[int]]) -> list[int]:
    """Tokens that each job passes through the model, all epochs."""
    return [job.optim.epochs * sum(of_job) for job, of_job in zip(jobs, lengths, strict=True)]


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
