"""Orthogonal LoRA: a new adapter that reads only what earlier ones do not read.

O-LoRA (Wang et al. 2023, arXiv 2310.14152) adds |A_old A_newᵀ| to the loss, so that the new A
leaves the span of the old ones. Here it is never in it: after every optimiser step A is projected
onto the orthogonal complement, which has no weight to choose. What an earlier adapter answers to,
inputs in the span of its A, the new one then does not see.
"""

from __future__ import annotations

import torch
from torch import Tensor

from selfedit.errors import UsageError
from selfedit.lm.bank import AdapterBank
from selfedit.lm.lora import Adapter


class Outside:
    """Keeps adapter k of a bank outside the span of an earlier one, from its initial values on.

    Raises:
        UsageError: the earlier adapter leaves no room, its rank reaches the inputs of a module.
    """

    def __init__(self, bank: AdapterBank, k: int, earlier: Adapter) -> None:
        self._fences: list[tuple[Tensor, Tensor]] = []
        self._row = bank.values[k], bank.computed[k]
        for name, (a, _) in earlier.tensors.items():
            # What the bank does not adapt reads nothing, so it is outside already.
            if name not in bank.slots:
                continue
            # A span of all inputs has no complement: A would be projected to zero and learn
            # nothing.
            if earlier.spec.rank >= a.shape[1]:
                what = (
                    f"earlier adapters of rank {earlier.spec.rank} span all {a.shape[1]} inputs of"
                    f" {name}"
                )
                raise UsageError(
                    what, where="lora.rank", fix="lower inner.lora.rank, or make fewer edits"
                )
            row = bank.matrices(name, bank.values[k])[0]  # [r, in]
            basis = _basis(a).to(row)  # [in, R]
            self._fences.append((row, basis))
        # Initial values are random, so they lie in the span too.
        self.project()

    def project(self) -> None:
        """Take the part in the span out of A, in place."""
        for a, basis in self._fences:
            # A − (A Q) Qᵀ: what remains is orthogonal to every column of Q.
            a.sub_((a @ basis) @ basis.T)
        values, computed = self._row
        # Where products read a narrower copy, it has to follow.
        if values.data_ptr() != computed.data_ptr():
            computed.copy_(values)


def _basis(a: Tensor) -> Tensor:
    """Orthonormal columns that span the rows of A, ``[R, in]`` to ``[in, R']``; nearly dependent
    rows count once.
    """
    # In float64: near-dependent rows are told apart by small singular values.
    u, s, _ = torch.linalg.svd(a.double().T, full_matrices=False)  # [in, R]
    # An adapter whose A is zero spans nothing.
    return u[:, s > 1e-6 * s.max()] if s.numel() and s.max() > 0 else u[:, :0]
