"""Nodes of a Ray cluster are killed while a run trains on it: it ends like one of one process.

``python tests/kills/nodes.py [KILLS] [SEED]`` (``make kills-nodes``): a cluster on this machine, of
which one node is killed in each run, so many seconds after so many trials as chance has it; another
one takes its place in the next. Prints a line a kill; ends with 1 if a ledger holds anything else
than that of a run in one process.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from itertools import count
from pathlib import Path

import torch
from ray.cluster_utils import Cluster

sys.path.append(str(Path(__file__).parents[1]))  # started as a program

from ray_runs import STORE, count_trials, lose_node, run_here, run_on_ray, stored
from selfedit.run.interrupt import own_signals
from tiny_llama import made_tokenizer, tiny_llama

WORKERS = 3
LONGEST = 0.5
"""Seconds after a stored trial that a node is killed, at the most."""


def main() -> int:
    """The campaign of the command line."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    torch.set_num_threads(1)  # as a worker of one core has
    with tempfile.TemporaryDirectory() as name:
        return _kill_nodes(Path(name), kills, seed)


def _kill_nodes(folder: Path, kills: int, seed: int) -> int:
    model = folder / "model"
    tokenizer = made_tokenizer()
    tokenizer.save_pretrained(model)
    tiny_llama(len(tokenizer)).save_pretrained(model)
    run_here(model, folder / "here", WORKERS)
    whole, trials = stored(folder / "here"), count_trials(folder / "here")
    with own_signals():
        head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
    numbers, killed, wrong, begun = count(), 0, 0, time.monotonic()
    try:
        while killed < kills:
            number = next(numbers)
            draw = random.Random(f"{seed}/{number}")
            when, seconds = draw.randrange(trials), LONGEST * draw.random()
            node = cluster.add_node(num_cpus=1, object_store_memory=STORE)
            run = folder / f"run-{number}"
            lost = threading.Thread(target=lose_node, args=(cluster, node, run, when, seconds))
            lost.start()
            run_on_ray(cluster, model, run, WORKERS)
            late = lost.is_alive()
            lost.join()
            equal = stored(run) == whole
            killed, wrong = killed + (not late), wrong + (not equal)
            end = "equal" if equal else "NOT EQUAL"
            end += ", but it had ended before: not counted" if late else ""
            print(f"node lost {seconds:.1f} s after trial {when} of {trials}: {end}", flush=True)
    finally:
        cluster.shutdown()
    print(f"{killed} nodes killed, {wrong} runs wrong, {time.monotonic() - begun:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
