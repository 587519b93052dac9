"""AdamW for a whole bank: every row has its own rate, betas, decay, eps, clip norm and step count.

Loshchilov and Hutter 2019 (arXiv 1711.05101), as torch.optim.AdamW computes it: with gradient g of
step t,

    m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²,   p ← (1 − η λ) p − η · (m / (1 − β₁ᵗ)) / (√(v
    / (1 − β₂ᵗ)) + ε)

after g was scaled to a norm of at most ``clip``, as torch.nn.utils.clip_grad_norm_ does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfedit.inner.job import AdaptJob
from selfedit.inner.plan import Turn
from selfedit.lm.bank import AdapterBank


class Hyper(NamedTuple):
    """One row's settings at one step, in the order of the kernel's table.

    ``first`` and ``second`` are the bias corrections 1 − β₁ᵗ and √(1 − β₂ᵗ).
    """

    active: float
    rate: float
    first: float
    second: float
    decay: float
    eps: float
    clip: float
    beta1: float
    rest1: float  # 1 − β₁: in float32 it would lose digits if it were formed there
    beta2: float
    rest2: float


# Rate 0, and 1 wherever something is divided by: a row of the table that changes nothing.
IDLE = Hyper(0.0, 0.0, 1.0, 1.0, 0.0, 1.0, float("inf"), 0.0, 1.0, 0.0, 1.0)
"""A row that is left as it is."""


def hyper(job: AdaptJob, number: int) -> Hyper:
    """The settings of a job's step ``number``, counted from 0."""
    optim, t = job.optim, number + 1
    beta1, beta2 = optim.betas
    return Hyper(
        active=1.0,
        rate=optim.rate(number, job.steps),
        # 1 − βᵗ: what the moments lack at the beginning, since they start at 0.
        first=1 - beta1**t,
        second=(1 - beta2**t) ** 0.5,
        decay=optim.weight_decay,
        eps=optim.eps,
        # An infinite norm clips nothing, and needs no branch in the kernel.
        clip=float("inf") if optim.clip is None else optim.clip,
        beta1=beta1,
        rest1=1 - beta1,
        beta2=beta2,
        rest2=1 - beta2,
    )


def hyper_table(jobs: Sequence[AdaptJob], turns: Sequence[Turn], rows: int) -> NDArray[np.float32]:
    """The settings of every row of the bank at one step, ``[K, 11]``."""
    # Rows without a turn are idle.
    table = np.array([IDLE] * rows, dtype=np.float32)
    for turn in turns:
        table[turn.slot] = hyper(jobs[turn.job], turn.number)
    return table


class BankAdamW:
    """The moments of every row of a bank, and its steps.

    Attributes:
        first: the moving mean of the gradients, ``[K, P]``.
        second: that of their squares, ``[K, P]``.
        counts: steps each row has taken, ``[K]``.
    """

    def __init__(self, bank: AdapterBank) -> None:
        self.bank = bank
        self.first, self.second = torch.zeros_like(bank.values), torch.zeros_like(bank.values)
        self.counts = torch.zeros(len(bank.values), dtype=torch.float32, device=bank.values.device)
        self._rows = [_Row(*tensors) for tensors in self._by_row()]

    def _by_row(self) -> zip[tuple[Tensor, ...]]:
        bank = self.bank
        assert bank.grads is not None
        return zip(bank.values, bank.grads, self.first, self.second, self.counts, strict=True)

    def reset(self, k: int) -> None:
        """Forget row k's past: another job has it now."""
        # The count too: it is the t of the bias correction.
        for tensor in (self.first[k], self.second[k], self.counts[k]):
            tensor.zero_()

    @torch.no_grad()
    def step(self, jobs: Sequence[AdaptJob], turns: Sequence[Turn]) -> None:
        """One step of the rows that take part; the others stay as they are. As many operations for
        any number of them.

        Rows of one rate and one decay are torch's own fused AdamW. Where rates differ (rows began
        at different steps) it computes the directions, and each row goes along its own at its own
        rate.
        """
        settings = {turn.slot: hyper(jobs[turn.job], turn.number) for turn in turns}
        # The active rows lie in one slice, idle ones between them included: slices are views.
        low, high = min(settings), max(settings) + 1
        table = [settings.get(slot, IDLE) for slot in range(low, high)]
        self._clip(table, low, high)
        active = sorted(settings)
        # torch's kernel reads the t of the bias correction from here, counted up already.
        self.counts[low:high] += self._column([row.active for row in table]).to(torch.float32)
        groups: dict[tuple[float, ...], list[int]] = {}
        for slot in active:
            # torch's fused step takes one setting of these for all its tensors.
            row = settings[slot]
            groups.setdefault((row.beta1, row.beta2, row.eps), []).append(slot)
        # The common case: all rows began together, and their rates fall together.
        one_rate = len({(settings[slot].rate, settings[slot].decay) for slot in active}) == 1
        # At lr 1 and from zero, the step that comes out is −direction.
        scratch = None if one_rate else torch.zeros_like(self.bank.values[low:high])
        for (beta1, beta2, eps), slots in groups.items():
            rows = [self._rows[slot] for slot in slots]
            torch.ops.aten._fused_adamw_(
                (
                    [row.values for row in rows]
                    if scratch is None
                    else [scratch[slot - low] for slot in slots]
                ),
                [row.grads for row in rows],
                [row.first for row in rows],
                [row.second for row in rows],
                [],
                [row.steps for row in rows],
                lr=settings[slots[0]].rate if one_rate else 1.0,
                beta1=beta1,
                beta2=beta2,
                weight_decay=settings[slots[0]].decay if one_rate else 0.0,
                eps=eps,
                amsgrad=False,
                maximize=False,
            )
        values = self.bank.values[low:high]
        if scratch is not None:
            if any(row.decay for row in table):
                # The decay before the step, from the value as it was: AdamW's order.
                values.mul_(self._column([1 - row.rate * row.decay for row in table])[:, None])
            # scratch holds −direction, so adding rate · scratch goes down.
            values.addcmul_(scratch, self._column([row.rate for row in table])[:, None])
        if self.bank.computed is not self.bank.values:
            self.bank.computed[low:high].copy_(values)

    def _clip(self, table: Sequence[Hyper], low: int, high: int) -> None:
        assert self.bank.grads is not None
        clips = [row.clip for row in table]
        # Nothing clips: the norm, a pass over all gradients, is not needed.
        if min(clips) == float("inf"):
            return
        grads = self.bank.grads[low:high]
        norms = torch.linalg.vector_norm(grads, dim=1)  # [rows]
        # clamp: gradients below their bound are left alone.
        grads.mul_((self._column(clips) / (norms + 1e-6)).clamp(max=1.0)[:, None])

    def _column(self, numbers: Sequence[float]) -> Tensor:
        values = self.bank.values
        # non_blocking: from pageable memory of this size the copy is staged, the host goes on.
        return torch.tensor(numbers, dtype=values.dtype).to(values.device, non_blocking=True)

    @torch.no_grad()
    def step_on_device(self, table: Tensor) -> None:
        """One step with settings that are on the device already, ``[K, 11]`` as in `Hyper`; nothing
        waits for the host.

        A kernel of our own: one pass over values, gradients and moments, which also writes what
            products read.
        """
        from selfedit.inner.adamw_kernel import adamw_kernel

        bank = self.bank
        assert bank.grads is not None
        norms = torch.linalg.vector_norm(bank.grads, dim=1, dtype=torch.float32)
        adamw_kernel(bank.values, bank.grads, self.first, self.second, bank.computed, norms, table)


class _Row(NamedTuple):
    values: Tensor
    grads: Tensor
    first: Tensor
    second: Tensor
    steps: Tensor
