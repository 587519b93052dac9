"""The most memory a process has held since it was asked to start counting."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

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
