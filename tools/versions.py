"""selfedit with the lowest versions that pyproject.toml states, or the newest there are.

    python tools/versions.py lowest
    python tools/versions.py newest

An environment of its own is made, selfedit and its extras are installed there, and a quick part of
the tests is run: what touches the libraries most. torch alone is the version of constraints.txt in
both: of that one pip finds a CPU build, of others one with gigabytes of CUDA. ``--torch 2.11.0``
takes another.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("bench", "arc", "fit", "endpoint", "serve", "documents")
"""Those whose packages the quick tests use; ray alone is as large as all the others."""
TOOLS = ("pytest", "pytest-timeout", "hypothesis")
TESTS = (
    "tests/test_config.py",
    "tests/cli/test_cli_adapt.py",
    "tests/cli/test_cli_help.py",
    "tests/lm/test_lora.py",
    "tests/serving/test_endpoint.py",
    "tests/lm/test_load.py",
)
Which = Literal["lowest", "newest"]


class RegistryOutOfReach(Exception):
    """No package can be fetched here, whatever its version."""


def direct_requirements(extras: Sequence[str] = EXTRAS) -> list[Requirement]:
    """What pyproject.toml states, of selfedit and of the extras, without selfedit itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    stated = [Requirement(line) for line in lines]
    return [one for one in stated if one.name != "selfedit"]


def lowest(requirement: Requirement) -> str:
    """The lowest version that a requirement allows, as a requirement of that version alone."""
    floors = [part.version for part in requirement.specifier if part.operator == ">="]
    if len(floors) != 1:
        raise ValueError(f"{requirement} states no lowest version")
    return f"{requirement.name}=={floors[0]}"


def wished(which: Which, torch: str) -> list[str]:
    """What pip is asked for."""
    asked = [f"torch=={torch}"]
    for one in direct_requirements():
        if canonicalize_name(one.name) != "torch":
            asked.append(lowest(one) if which == "lowest" else str(one))
    return asked


def pinned_torch() -> str:
    """The version of torch that constraints.txt names."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line.removeprefix("torch==") for line in lines if line.startswith("torch=="))


def make_environment(folder: Path, which: Which, torch: str) -> Path:
    """An environment with these versions; the path of its Python.

    Raises:
        RegistryOutOfReach: pip cannot ask any registry.
        subprocess.CalledProcessError: the versions do not go together, or cannot be installed.
    """
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    # One pip for all: the new environment needs none of its own.
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    probe = [sys.executable, "-m", "pip", "index", "versions", "packaging", "-q"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        raise RegistryOutOfReach("pip cannot reach a package registry")
    subprocess.run([*pip, "install", "-q", *wished(which, torch), *TOOLS], check=True)
    subprocess.run([*pip, "install", "-q", "--no-deps", "-e", str(ROOT)], check=True)
    return python


def run_tests(python: Path, tests: Sequence[str]) -> int:
    """pytest's exit code. Warnings are no errors: other versions warn of other things."""
    quick = ["-m", "not model and not slow and not gpu", "-o", "filterwarnings=default"]
    command = [str(python), "-m", "pytest", "-x", "-q", "--no-header", *quick, *tests]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def main(words: Sequence[str] | None = None) -> int:
    """Make the environment, run the tests; pytest's exit code."""
    parser = argparse.ArgumentParser(description="Test with the lowest or the newest versions.")
    parser.add_argument("which", choices=("lowest", "newest"))
    parser.add_argument("--torch", default=pinned_torch(), help="default: %(default)s")
    parser.add_argument("tests", nargs="*", default=TESTS, help="instead of the quick ones")
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix=f"selfedit-{given.which}-") as folder:
        try:
            python = make_environment(Path(folder), given.which, given.torch)
        except RegistryOutOfReach as error:
            print(f"not tested: {error}")
            return 0
        return run_tests(python, given.tests)


if __name__ == "__main__":
    sys.exit(main())
