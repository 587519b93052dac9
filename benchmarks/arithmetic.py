"""``bench arithmetic``: what K adapters in one pass cost in operations and bytes, from a model's
shape alone.

One training step of K adapters, each with ``tokens`` tokens, all of which carry loss. Operations
are those of `Shape.training_flops`. Bytes are what must cross the memory bus at least once:

- the frozen weights and the head, read forward and read again backward: 2·(N + V·D)·w, whatever K
is;
- an adapter's parameters, gradient and two Adam states: parameters read forward and backward,
  gradient written and read, states and parameters read and written by AdamW: 10·4·P an adapter
  (float32);
- activations, written forward and read backward: 2·w·A a token, A from `Shape.activations`.

A step takes at least the longer of operations / peak rate and bytes / bandwidth. While the bytes of
the weights are the longer part, more adapters in one pass are nearly free; K stops paying where the
two meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfedit.config import ALL_LINEAR
from selfedit.errors import UsageError
from selfedit.lm.shape import KNOWN, Shape

ADAPTER_PASSES = 10
"""Times that one of an adapter's numbers crosses the bus in a step."""


def arithmetic(
    model: str = "qwen2.5-7b",
    *,
    ks: Sequence[int] = (1, 2, 4, 8, 16, 32, 64),
    tokens: int = 64,
    rank: int = 16,
    targets: Sequence[str] = ALL_LINEAR,
    width: int = 2,
    tflops: float = 989.0,
    bandwidth: float = 3350.0,
) -> dict[str, Any]:
    """The table.

    Args:
        model: one of `KNOWN`.
        ks: adapters in one pass.
        tokens: of each adapter in a step.
        rank, targets: the adapters'.
        width: bytes of a weight and an activation (2 is bfloat16).
        tflops: the device's peak, in 10¹² operations a second (an H100's, bfloat16, by its data
            sheet).
        bandwidth: of its memory, in 10⁹ bytes a second (the same).

    Raises:
        UsageError: an unknown model, or a number that is not positive.
    """
    if model not in KNOWN:
        raise UsageError(
            f"the shape of {model!r} is not known",
            where="model",
            fix=f"choose among {', '.join(KNOWN)}",
        )
    if min(*ks, tokens, rank, width) < 1 or min(tflops, bandwidth) <= 0:
        raise UsageError("every number of the table must be positive", where="bench arithmetic")
    shape = KNOWN[model]
    rows = [_row(shape, k, tokens, rank, targets, width, tflops, bandwidth) for k in ks]
    for row in rows:
        row["times_cheaper"] = rows[0]["seconds_an_adapter"] / row["seconds_an_adapter"]
    return {
        "benchmark": "arithmetic",
        "model": model,
        "weights": shape.weights,
        "head": shape.head,
        "adapter": shape.adapter(rank, targets),
        "tokens": tokens,
        "rank": rank,
        "modules": list(targets),
        "width": width,
        "tflops": tflops,
        "bandwidth": bandwidth,
        "rows": rows,
        "notes": [
            (
                "ms/adapter: the longer of a step's two times, divided by K; ×: how many times less"
                " than with the first K"
            ),
            (
                "GB held: the weights, and of each adapter its parameters, gradients, Adam states"
                " and activations"
            ),
        ],
    }


def _row(
    shape: Shape,
    k: int,
    tokens: int,
    rank: int,
    targets: Sequence[str],
    width: int,
    tflops: float,
    bandwidth: float,
) -> dict[str, Any]:
    flops = shape.training_flops(k * tokens, k * tokens, rank, targets)
    parameters = shape.adapter(rank, targets)
    weights = 2 * width * (shape.weights + shape.head)
    adapters = ADAPTER_PASSES * 4 * parameters * k
    activations = 2 * width * shape.activations(rank, targets) * tokens * k
    moved = weights + adapters + activations
    by_rate, by_bus = flops / (tflops * 1e12), moved / (bandwidth * 1e9)
    seconds = max(by_rate, by_bus)
    return {
        "k": k,
        "flops": flops,
        "weight_bytes": weights,
        "adapter_bytes": adapters,
        "activation_bytes": activations,
        "bytes": moved,
        "memory": (
            width * (shape.weights + shape.head)
            + k * (16 * parameters + width * shape.activations(rank, targets) * tokens)
        ),
        "seconds_by_rate": by_rate,
        "seconds_by_bandwidth": by_bus,
        "bound": "rate" if by_rate >= by_bus else "bandwidth",
        "seconds": seconds,
        "seconds_an_adapter": seconds / k,
    }
