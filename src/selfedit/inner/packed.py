"""Steps of any shape on any device: adapters and attention run on a few padded blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from selfedit.inner.lessons import lessons
from selfedit.inner.plan import StepArrays, Turn, as_tensor, step_arrays
from selfedit.inner.trainer import TrainingGroup
from selfedit.lm.attention import packed_attention
from selfedit.lm.block import run_layers
from selfedit.lm.loss import head_loss
from selfedit.lm.segments import IntArray, Segments, segments_of
from selfedit.lm.teacher import teacher_loss

MAX_PADDING = 0.125
"""Padding tokens per real token up to which a step's sequences are padded to one length."""
TOGETHER = 1.5
"""Padded slots per token up to which all adapters are one block: views of the bank, where several
need copies of it.
"""
BLOCKS = 2
"""Blocks of adapters of like length at the most: every one is a product of its own in each module.
"""


class PackedSteps:
    """See `selfedit.inner.trainer.StepRunner`."""

    # Progress costs nothing on a CPU, where every step is waited for anyway.
    every = 1

    def __init__(self, training: TrainingGroup) -> None:
        self.training = training
        # A generator a job: its masks are its own seed's, whoever trains beside it.
        self._masks = [torch.Generator().manual_seed(job.seed) for job in training.jobs]
        self._losses: list[Tensor] = []

    def run(self, number: int) -> None:
        """See `StepRunner`."""
        training, step = self.training, self.training.steps[number]
        lm, bank = training.lm, training.bank
        # Not with dropout, where a job's masks must not depend on how much padding the others make
        # it carry.
        dropout = any(training.jobs[turn.job].lora.dropout for turn in step.turns)
        arrays = step_arrays(step, training.data, 0.0 if dropout else MAX_PADDING)
        bank.assign(self._route(step.turns, arrays))
        owners = [
            (t.slot, int(n), self._masks[t.job])
            for t, n in zip(step.turns, arrays.owned, strict=True)
        ]
        bank.draw_dropout(owners, len(arrays.ids))
        predicting = self._hidden(arrays).index_select(0, as_tensor(arrays.rows, lm.device))
        weights = as_tensor(arrays.weights, lm.device, torch.promote_types(lm.dtype, torch.float32))
        targets = as_tensor(arrays.targets, lm.device)
        sequences = [[training.data[t.job][i].sequence for i in t.sequences] for t in step.turns]
        if training.objective is None:
            loss, losses = head_loss(predicting, training.head, targets, weights, lm.cap)
            # Weighted by what makes a job's loss a mean over its own tokens; its sum is that job's
            # loss.
            weighted = losses * weights
        else:
            flat = [sequence for turn in sequences for sequence in turn]
            loss, weighted = training.objective(predicting, training.head, targets, weights, flat)
        if (taught := lessons(sequences, lm.device, weights.dtype)) is not None:
            divergence, divergences = teacher_loss(
                predicting[taught.places], training.head, taught.hidden, taught.weights, lm.cap
            )
            loss = loss + divergence
            weighted = weighted.index_add(0, taught.places, divergences * taught.weights)
        # One backward pass for all adapters: their losses add up, their parameters are apart.
        loss.backward()
        counts = as_tensor(arrays.counts, lm.device)
        # Kept on the device: reading it here would wait for the step.
        self._losses.append(
            torch.segment_reduce(weighted.detach(), "sum", lengths=counts, unsafe=True)
        )
        training.optimiser.step(training.jobs, step.turns)

    def _hidden(self, arrays: StepArrays) -> Tensor:
        lm, lower = self.training.lm, self.training.lower
        plan = packed_attention(arrays.lengths, lm.device, lm.dtype)
        if lower is None:
            return lm.hidden(
                as_tensor(arrays.ids, lm.device), as_tensor(arrays.positions, lm.device), plan
            )
        # Tokens of a sequence of every epoch read the same rows, computed once.
        states = lower.states.index_select(0, as_tensor(arrays.lower, lm.device))
        return run_layers(
            lm.model, states, as_tensor(arrays.positions, lm.device), plan, first=lower.first
        )

    def _route(self, turns: Sequence[Turn], arrays: StepArrays) -> Segments:
        lm = self.training.lm
        # Rows without a turn own no token, and get no gradient.
        owned: IntArray = np.zeros(turns[-1].slot + 1, np.int64)
        owned[[turn.slot for turn in turns]] = arrays.owned
        tokens = np.arange(len(arrays.ids))
        return segments_of(tokens, owned, lm.device, lm.dtype, together=TOGETHER, most=BLOCKS)

    def wait(self) -> None:
        """See `StepRunner`."""

    def state(self) -> dict[str, Tensor]:
        """See `StepRunner`."""
        masks = {f"masks.{k}": generator.get_state() for k, generator in enumerate(self._masks)}
        return masks | {"losses": torch.cat(self._losses)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """See `StepRunner`."""
        self._losses = [state["losses"].to(self.training.lm.device)]
        for k, generator in enumerate(self._masks):
            generator.set_state(state[f"masks.{k}"])

    def losses(self) -> list[list[float]]:
        """See `StepRunner`."""
        every = torch.cat(self._losses).tolist()
        turns = [len(step.turns) for step in self.training.steps]
        ends = np.cumsum(turns)
        return [every[end - count : end] for end, count in zip(ends, turns, strict=True)]
