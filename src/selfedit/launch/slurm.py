"""A batch script for Slurm: a Ray head on the first node, workers on all, the run beside the head.

Slurm warns before it takes the nodes away (``--signal``); the run is then asked to stop as by
Ctrl-C, stores what is in hand, and exits with 130. The script puts the job back into the queue, and
the same command goes on where it stopped. Whatever else ends it is not tried again.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from selfedit.errors import Unavailable, UsageError

_OPTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:,=@%+/-]*")
_TIME = re.compile(r"\d+(-\d+(:\d+){0,2}|(:\d+){0,2})")

SCRIPT = """#!/bin/bash
{directives}
# Written by `selfedit launch slurm`. A head and workers of Ray, and the run beside the head.
set -uo pipefail

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$head:{port}

# Before the nodes are taken away, and at scancel: the run stores what is in hand.
run= asked= waited=0
stop() {{ asked=1; [ -z "$run" ] || kill -TERM "$run"; }}
trap stop TERM INT

srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \\
    ray start --head --block --port={port} --disable-usage-stats {resources} &
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --overlap --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) \\
        --ntasks-per-node=1 --exclude="$head" \\
        ray start --address="$address" --block --disable-usage-stats {resources} &
fi
until ray health-check --address "$address" >/dev/null 2>&1; do
    [ $((waited += 1)) -le {patience} ] || {{ echo "no Ray head at $address" >&2; exit 4; }}
    sleep 1
done

{command} --engine.kind ray --engine.address "$address" &
run=$!
while true; do
    asked=
    wait "$run"; code=$?
    # A signal ends a wait early: the next one has the run's own exit code.
    [ -n "$asked" ] || break
done

if [ "$code" -eq 130 ]; then
    echo "stopped by the scheduler: back into the queue, to go on where it stopped"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


@dataclass(frozen=True)
class Job:
    """What is asked of Slurm.

    Attributes:
        name: of the job.
        nodes: machines.
        gpus: of each machine; 0 for none.
        cpus: cores of each machine.
        time: the longest it may take, as Slurm writes it (``D-HH:MM:SS``).
        warning: seconds before the end at which the run is asked to stop.
        output: where what it prints goes.
        options: further ``#SBATCH`` options, such as ``partition=gpu``.
        port: of Ray's head.
        patience: seconds that the head may take to come up.
    """

    name: str
    nodes: int = 1
    gpus: int = 1
    cpus: int = 8
    time: str = "24:00:00"
    warning: int = 300
    output: Path = Path("slurm-%j.log")
    options: tuple[str, ...] = ()
    port: int = 6379
    patience: int = 300


def batch_script(command: Sequence[str], job: Job) -> str:
    """The script that runs ``command`` on a Ray cluster of the job's nodes.

    Raises:
        UsageError: something would not stand in one line of a script as it is meant.
    """
    if not _TIME.fullmatch(job.time):
        fix = "give minutes, HH:MM:SS or D-HH:MM:SS"
        raise UsageError(f"{job.time!r} is no time of Slurm's", where="time", fix=fix)
    named = {
        "job-name": job.name,
        "nodes": str(job.nodes),
        "ntasks-per-node": "1",
        "cpus-per-task": str(job.cpus),
        **({"gpus-per-node": str(job.gpus)} if job.gpus else {}),
        "time": job.time,
        "signal": f"B:TERM@{job.warning}",
        "output": str(job.output),
        "open-mode": "append",
    }
    options = [f"{name}={value}" for name, value in named.items()] + ["requeue", *job.options]
    for option in options:
        if not _OPTION.fullmatch(option):
            fix = "use letters, digits and _.:,=@%+/- only, without spaces"
            raise UsageError(f"{option!r} cannot be asked of Slurm", where="#SBATCH", fix=fix)
    resources = f"--num-cpus={job.cpus} --num-gpus={job.gpus}"
    script = SCRIPT.format(
        directives="\n".join(f"#SBATCH --{option}" for option in options),
        command=shlex.join(command),
        port=job.port,
        patience=job.patience,
        resources=resources,
    )
    try:
        script.encode()
    except UnicodeEncodeError as error:
        fix = "give paths and settings as text"
        what = "a name that is no text cannot stand in a script"
        raise UsageError(what, where="the command", fix=fix) from error
    return script


def submit(script: Path) -> str:
    """Give a script to ``sbatch``; what it says.

    Raises:
        Unavailable: there is no sbatch here, or it refuses.
    """
    try:
        reply = subprocess.run(["sbatch", str(script)], capture_output=True, text=True, check=False)
    except OSError as error:
        fix = "run this on a login node, or copy the script to one and submit it there"
        raise Unavailable(f"sbatch cannot be run: {error}", where=script, fix=fix) from error
    if reply.returncode:
        raise Unavailable(
            f"sbatch refused the script: {reply.stderr.strip() or reply.stdout.strip()}",
            where=script,
            fix="change what it names (partition, account, time, GPUs) and submit it again",
        )
    return reply.stdout.strip()
