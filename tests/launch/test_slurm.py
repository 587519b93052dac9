"""The batch script, run by bash with a scheduler's tools that only note what they are asked."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from selfedit.errors import UsageError
from selfedit.launch.slurm import Job, batch_script

TOOLS = {
    "scontrol": 'echo "scontrol $*" >> "$NOTES"; [ "$1" = requeue ] || printf "one\\ntwo\\n"',
    "srun": (
        'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"'  # its own options, then a command
    ),
    "ray": 'echo "ray $*" >> "$NOTES"; case "$*" in *--block*) exec sleep 60;; esac',
    "sleep": 'exec /bin/sleep "$@"',
}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tools on the path; what they were asked is in ``notes``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in TOOLS.items():
        put(folder / name, body)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    for name, value in {"JOB_ID": "7", "JOB_NODELIST": "n[1-2]", "JOB_NUM_NODES": "2"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    return folder


def put(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)


def begun(tmp_path: Path, command: list[str]) -> subprocess.Popen[str]:
    script = tmp_path / "job.sbatch"
    script.write_text(batch_script(command, Job("try", nodes=2, gpus=3, cpus=5)))
    return subprocess.Popen(["bash", str(script)], text=True, start_new_session=True)


def test_head_workers_and_the_run(tools: Path, tmp_path: Path) -> None:
    put(tools / "selfedit", 'echo "selfedit $*" >> "$NOTES"; exit 3')
    assert begun(tmp_path, ["selfedit", "train", "--out", "a b"]).wait(60) == 3
    notes = (tmp_path / "notes").read_text().splitlines()
    assert (
        "ray start --head --block --port=6379 --disable-usage-stats --num-cpus=5 --num-gpus=3"
        in notes
    )
    assert (
        "ray start --address=one:6379 --block --disable-usage-stats --num-cpus=5 --num-gpus=3"
        in notes
    )
    run = "selfedit train --out a b --engine.kind ray --engine.address one:6379"
    assert notes.index("ray health-check --address one:6379") < notes.index(run)
    assert not any("requeue" in line for line in notes)


def test_stopped_by_the_scheduler_it_goes_back_into_the_queue(tools: Path, tmp_path: Path) -> None:
    put(
        tools / "selfedit",
        'trap "sleep 0.3; exit 130" TERM; echo ready >> "$NOTES"; while true; do sleep 0.1; done',
    )
    job = begun(tmp_path, ["selfedit"])
    notes = tmp_path / "notes"
    while not (notes.exists() and "ready" in notes.read_text()):
        assert job.poll() is None
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)  # to the script alone, as --signal=B:TERM does
    assert job.wait(60) == 130
    assert notes.read_text().splitlines()[-1] == "scontrol requeue 7"
    os.killpg(job.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"time": "soon"}, "soon"),
        ({"options": ("partition=gpu\n#SBATCH --uid=0",)}, "partition"),
        ({"options": ("comment=$(id)",)}, "comment"),
        ({"output": Path("a b.log")}, "a b"),
    ],
)
def test_what_is_no_option_is_refused(changed: dict, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        batch_script(["selfedit"], Job("try", **changed))
