"""Keep freed memory in the process instead of giving it back to the system after every step.

Training frees and allocates the same large buffers at every step. glibc gives a large one back at
once, and memory touched for the first time after that is many times slower than memory used before
(the system has to find and clear each page). Environment variables for this are read before Python
starts; ``mallopt`` works in a running process.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

_GROUP = Path("/sys/fs/cgroup")  # of a Linux container
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # glibc's malloc.h


def keep_memory() -> bool:
    """Tell glibc's allocator not to give memory back; the command line calls it before it loads a
    model.

    A process of your own that calls `selfedit.adapt` many times gains from calling it first. The
    memory a process holds then stays at its peak until it ends.

    Returns:
        Whether it took effect: only on Linux with glibc, elsewhere nothing is done.
    """
    # mallopt is glibc's own: musl has none, macOS another allocator.
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    kept = mallopt(_M_TRIM_THRESHOLD, -1) == 1  # −1: never
    # Older glibc refuses a threshold above 32 MB: there, no allocation gets pages of its own.
    return kept and (mallopt(_M_MMAP_THRESHOLD, 2**31 - 1) == 1 or mallopt(_M_MMAP_MAX, 0) == 1)


def memory_bytes(device: torch.device) -> tuple[int, int]:
    """Memory in all and free now: the GPU's, or the machine's within the limit of its container."""
    if device.type == "cuda":
        import torch

        free, total = torch.cuda.mem_get_info(device)
        return int(total), int(free)
    # Containers show the machine's memory; their own limit is what kills.
    machine, (limit, left) = psutil.virtual_memory(), _container()
    return min(int(machine.total), limit), max(0, min(int(machine.available), left))


def _container() -> tuple[int, int]:
    """The container's limit and what it leaves; files that are only cached do not count. Huge
    without a limit.
    """
    limit, used, detail = (_GROUP / f"memory.{name}" for name in ("max", "current", "stat"))
    # "max" where there is no limit; no file outside of a container with cgroup v2.
    if not limit.exists() or not (most := limit.read_text().strip()).isdecimal():
        return sys.maxsize, sys.maxsize
    details = dict(line.split()[:2] for line in detail.read_text().splitlines())
    # File pages the kernel would drop at once count as used; for us they are free.
    cached = int(details.get("inactive_file", 0))
    return int(most), int(most) - int(used.read_text()) + cached
