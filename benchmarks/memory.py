"""Two counts of memory: what a process holds, and what its tensors were given.

The first is what a machine must have. The second leaves out what the allocator keeps between
tensors: on the CPU, C's allocator gives a freed piece only to what fits into it.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from selfedit.config import Settings
from selfedit.lm.shape import Shape

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def start_peak(device: torch.device) -> str:
    """Begin to count; returns what will be counted, in words."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return "memory allocated on the GPU, since the model was loaded"
    if _STATUS.exists():
        try:
            _CLEAR.write_text("5")  # Linux: VmHWM starts anew from what is resident now
            return "resident memory, since the model was loaded"
        except OSError:
            pass
    return "resident memory, the loading of the model included"


def peak_bytes(device: torch.device) -> int:
    """Most bytes held since `start_peak` (since the process began, where it said so)."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else 1024 * used


def peak_allocated(run: Callable[[], object], device: torch.device) -> int:
    """Most bytes that tensors made during ``run`` held at once."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return int(torch.cuda.max_memory_allocated(device)) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = [(e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]"]
    held = most = 0
    for _, change in sorted(changes, key=lambda pair: pair[0]):
        held += change
        most = max(most, held)
    return most


def adapter_memory(
    shape: Shape,
    settings: Settings,
    ks: tuple[int, int],
    peaks: tuple[float, float],
    tokens: tuple[float, float],
) -> dict[str, Any]:
    """What one more adapter takes: the slope from few adapters to many, so that what K does not
    change cancels.

    Args:
        shape: of the model.
        settings: the adapters' rank and targets, and the model's dtype (not "auto").
        ks: how many adapters, few and many.
        peaks: bytes held at most with each.
        tokens: of the largest step of each.

    Returns:
        Bytes an adapter: all; parameters, gradients and two Adam states; what is beyond them; and,
        beside it, the adapter's activations by `Shape.activations`.
    """
    lora, more = settings.inner.lora, ks[1] - ks[0]
    width = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}[settings.dtype]
    states = 4 * max(4, width) * shape.adapter(lora.rank, lora.targets)
    all_of_it = (peaks[1] - peaks[0]) / more
    return {
        "from_k": ks[0],
        "to_k": ks[1],
        "per_adapter": all_of_it,
        "states": states,
        "extra": all_of_it - states,
        "activations": (
            width * shape.activations(lora.rank, lora.targets) * (tokens[1] - tokens[0]) / more
        ),
    }
