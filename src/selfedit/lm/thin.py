"""Few tokens an adapter, as in decoding: all adapters of a bank as one wide product.

A batched product of K thin matrices runs far below the rate of one large product, and gathering each adapter's tokens
costs as much again. Here every token meets all K adapters' A side by side, ``[T, in] · [in, K·r]``, keeps the r columns
of its own adapter, and goes on through all of B, ``[T, K·r] · [K·r, out]``. That is K times the operations of the
adapters' own products; while K·r is small beside the module's width they are few, and they run at the full rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from selfedit.lm.bank import AdapterBank, BankSlot

WIDEST = 512
"""K·r up to which this is quicker than batched products."""


class Thin:
    """Which adapter each of a few packed tokens goes through.

    Args:
        bank: not for training.
        owners: each token's adapter; −1 is none.
    """

    def __init__(self, bank: AdapterBank, owners: Sequence[int]) -> None:
        device = bank.values.device
        own = torch.tensor(list(owners), device=device, dtype=torch.long)[:, None]  # [T, 1]
        columns = torch.arange(len(bank.specs), device=device).repeat_interleave(bank.rank)  # [K·r]
        self.foreign = own != columns  # [T, K·r]
        scales = torch.tensor([spec.scale for spec in bank.specs], device=device, dtype=bank.values.dtype)
        self.scale = scales[own.clamp(min=0)]  # [T, 1]

    def add(self, y: Tensor, x: Tensor, slot: BankSlot) -> Tensor:
        """y ``[T, out]`` with scale · (x Aᵀ) Bᵀ of every token's own adapter added in place; x is ``[T, in]``."""
        a, b = slot.a.flatten(0, 1).to(x.dtype), slot.b.mT.flatten(0, 1).to(x.dtype)  # [K·r, in], [K·r, out]
        h = torch.mm(x, a.T).masked_fill_(self.foreign, 0).mul_(self.scale.to(x.dtype))
        return y.addmm_(h, b)


def fits(bank: AdapterBank) -> bool:
    """Whether this is a way for the bank: narrow enough, and all finite (0 · ∞ would spoil the others' tokens)."""
    return len(bank.specs) * bank.rank <= WIDEST and bool(torch.isfinite(bank.values.sum()))
