"""A run handed to a scheduler from the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from selfedit.errors import Unavailable
from selfedit.launch.slurm import submit


def put(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)


def test_launch_slurm(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command writes the script and gives it to sbatch; what sbatch refuses is said."""
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    recipe = tmp_path / "mine.toml"
    recipe.write_text('train = "corpus:train"\n')
    path = tmp_path / "runs" / "mine.sbatch"
    asked = ["launch", "slurm", recipe, "-o", tmp_path / "runs" / "mine", "--rl.rounds", "3"]
    done = run(*asked, "--option", "partition=gpu", "--nodes", 4)
    assert done.code == 0 and str(path) in done.err
    text = path.read_text()
    assert "#SBATCH --partition=gpu" in text and "#SBATCH --nodes=4" in text
    assert f"selfedit train --recipe {recipe} --out {tmp_path}/runs/mine --rl.rounds 3" in text
    put(tools / "sbatch", 'echo "Submitted batch job 11 ($1)"')
    assert "job 11" in run(*asked, "--submit").err
    put(tools / "sbatch", "echo 'invalid partition' >&2; exit 1")
    refused = run(*asked, "--submit")
    assert refused.code == 4 and "invalid partition" in refused.err
    assert run("launch", "slurm", recipe, "--rl.rounds", "none").code == 2
    assert run("launch", "slurm", recipe, "--experiment", "nothing").code == 2
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="login node"):
        submit(path)
