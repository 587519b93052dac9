"""AdamW over a bank's rows as one Triton kernel, for a GPU; the formula:
`selfedit.inner.optimiser`'s.

Operations of torch would read and write the ``[K, P]`` buffers some ten times; a step of 64
adapters on a 7B model moves 2.6 GB a buffer. Triton comes with torch wherever that has CUDA on
Linux; this module is imported at its first use.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def _step(
    values,
    grads,
    first,
    second,
    computed,
    norms,
    table,
    count,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # One program for each block of each row: rows differ in settings, blocks of a row share them.
    row = tl.program_id(0)
    setting = table + row * WIDTH
    # Idle rows are skipped: their moments would be overwritten.
    if tl.load(setting) > 0:
        rate, first_left, second_left = (
            tl.load(setting + 1),
            tl.load(setting + 2),
            tl.load(setting + 3),
        )
        decay, eps, clip = tl.load(setting + 4), tl.load(setting + 5), tl.load(setting + 6)
        # torch's clip_grad_norm_ adds the same 1e-6.
        factor = tl.minimum(clip / (tl.load(norms + row) + 1e-6), 1.0)
        column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = column < count
        # 64 bits: K · P passes 2³¹ with 64 adapters of a 7B model.
        at = row.to(tl.int64) * count + column
        g = tl.load(grads + at, mask=inside, other=0.0).to(tl.float32) * factor
        m = (
            tl.load(setting + 7) * tl.load(first + at, mask=inside, other=0.0)
            + tl.load(setting + 8) * g
        )
        v = (
            tl.load(setting + 9) * tl.load(second + at, mask=inside, other=0.0)
            + tl.load(setting + 10) * g * g
        )
        # Decoupled: the decay acts on the value, not on the gradient (AdamW).
        p = tl.load(values + at, mask=inside, other=0.0) * (1 - rate * decay)
        # √(v / (1 − β₂ᵗ)) is √v / √(1 − β₂ᵗ), and the second root is in the table.
        p -= rate / first_left * m / (tl.sqrt(v) / second_left + eps)
        tl.store(first + at, m, mask=inside)
        tl.store(second + at, v, mask=inside)
        tl.store(values + at, p, mask=inside)
        # In the type that products read, while the value is at hand: no second pass casts it.
        tl.store(computed + at, p.to(computed.dtype.element_ty), mask=inside)


def adamw_kernel(
    values: Tensor,
    grads: Tensor,
    first: Tensor,
    second: Tensor,
    computed: Tensor,
    norms: Tensor,
    table: Tensor,
) -> None:
    """One step of every active row, in place.

    Args:
        values: master values, ``[K, P]`` float32.
        grads: gradients, ``[K, P]``; read only.
        first: first moments, ``[K, P]`` float32.
        second: second moments, ``[K, P]`` float32.
        computed: what products read, ``[K, P]``; may be ``values``.
        norms: of each row's gradient, ``[K]`` float32.
        table: settings, ``[K, 11]`` float32 (`selfedit.inner.optimiser.Hyper`).
    """
    rows, count = values.shape
    grid = (rows, triton.cdiv(count, BLOCK))
    step: Any = _step[grid]
    step(
        values,
        grads,
        first,
        second,
        computed,
        norms,
        table,
        count,
        WIDTH=table.shape[1],
        BLOCK=BLOCK,
    )
