"""An environment with a vLLM server for CPUs, made once and kept in selfedit's cache.

    python tools/vllm_env.py           make it, unless it is there; prints its Python
    python tools/vllm_env.py --where   where it is or would be; makes nothing

Its packages are pinned in ``tools/vllm_env.txt`` and are installed as they stand there, some 1.7 GB:
vLLM wants other versions than selfedit does, so it has an environment of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import venv
from pathlib import Path
from shutil import rmtree

from filelock import FileLock

from selfedit.storage.cache import cache_dir

PINS = Path(__file__).with_name("vllm_env.txt")
SECONDS = 1200
"""What installing may take before it is given up."""


class NotMade(Exception):
    """The environment could not be made: most likely the registry is out of reach."""


def folder() -> Path:
    """Where the environment of these pins and this Python is."""
    version = ".".join(map(str, sys.version_info[:2]))
    digest = hashlib.sha256(PINS.read_bytes()).hexdigest()[:12]
    return cache_dir() / "vllm" / f"python{version}-{digest}"


def python() -> Path:
    """Its interpreter."""
    return folder() / "bin" / "python"


def make() -> Path:
    """Make the environment, unless it is there; returns its interpreter.

    Raises:
        NotMade: pip could not install it.
    """
    where, done = folder(), folder() / "complete"
    where.parent.mkdir(parents=True, exist_ok=True)
    # Two test workers may want it at once.
    with FileLock(where.with_suffix(".lock")):
        if not done.exists():
            rmtree(where, ignore_errors=True)
            venv.create(where, with_pip=True)
            _install()
            done.touch()
    return python()


def _install() -> None:
    # Without dependencies: each is in the file, and the resolver alone would take a minute.
    options = ["--no-deps", "--no-compile", "--disable-pip-version-check", "--quiet"]
    command = [str(python()), "-m", "pip", "install", *options, "-r", str(PINS)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotMade(f"pip was not done after {SECONDS} seconds") from error
    if done.returncode:
        raise NotMade("\n".join(done.stderr.strip().splitlines()[-3:]))


def main() -> int:
    """Make it, or say where it is."""
    parser = argparse.ArgumentParser(description="a vLLM server for CPUs, in its own environment")
    parser.add_argument("--where", action="store_true", help="make nothing, say where it is")
    try:
        print(python() if parser.parse_args().where else make())
    except NotMade as error:
        print(f"the environment could not be made: {error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
