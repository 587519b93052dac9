"""A handful of the kill campaign for each kind of run; ``make kills`` does many more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).with_name("campaign.py")


@pytest.mark.slow
def test_runs_that_are_killed_end_in_equal_bytes(tmp_path: Path) -> None:
    command = [sys.executable, str(CAMPAIGN), "6", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed: call" in done.stdout or "killed: moment" in done.stdout
