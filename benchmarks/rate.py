"""Time, and how fast this machine multiplies large matrices."""

from __future__ import annotations

import time

import torch


def now(device: torch.device) -> float:
    """The time once the device has done what it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def matrix_rate(device: torch.device, dtype: torch.dtype, size: int, times: int) -> float:
    """Operations a second of the product of two ``[size, size]`` matrices, the median of ``times``."""
    a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    seconds = []
    for _ in range(times + 1):  # the first warms up
        start = now(device)
        torch.mm(a, b, out=out)
        seconds.append(now(device) - start)
    return 2 * size**3 / sorted(seconds[1:])[times // 2]
