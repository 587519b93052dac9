"""Full finetuning as a step of a run: two processes, kill -9, a stop, a checkpoint of something
else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfedit.errors import Interrupted, RunFolderError
from selfedit.inner.full import FullSpec
from selfedit.inner.job import OptimSpec, TrainSequence
from selfedit.rl.finetune import finetune
from selfedit.storage.files import hash_file

SPEC = FullSpec(OptimSpec(lr=1e-3, epochs=3, batch_size=4), rows=2)
DATA = [
    TrainSequence(tuple(range(3 + n, 3 + n + 5 + 3 * n)), (False, *[True] * (4 + 3 * n)))
    for n in range(11)
    # lengths 5 to 35; the last batch of an epoch has three, so that two processes have unequal shares
]

SLOW = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from test_finetune import DATA, SPEC
from selfedit.rl.finetune import finetune
if __name__ == "__main__":
    import torch
    torch.set_num_threads(1)
    finetune(Path({model!r}), DATA, SPEC, Path({folder!r}), every=2, on_step=lambda n, *_: time.sleep(60 * (n == 7)))
"""


@pytest.fixture(scope="module")
def whole(small_folder: Path, tmp_path_factory: pytest.TempPathFactory):
    return finetune(small_folder, DATA, SPEC, tmp_path_factory.mktemp("full") / "whole", every=2)


@pytest.mark.slow
def test_two_processes_give_the_single_process_loss(
    whole, small_folder: Path, tmp_path: Path
) -> None:
    """FSDP2 over gloo, unequal shares of a batch; then one process goes on from two's checkpoint."""
    told: list[int] = []
    shared = finetune(
        small_folder,
        DATA,
        SPEC,
        tmp_path / "two",
        every=2,
        processes=2,
        on_step=lambda n, *_: told.append(n),
    )
    assert shared.losses == pytest.approx(whole.losses, rel=1e-5)
    assert shared.tokens == whole.tokens and told == list(range(1, len(whole.losses) + 1))
    (tmp_path / "two" / "model").rename(tmp_path / "away")
    again = finetune(small_folder, DATA, SPEC, tmp_path / "two", every=2)
    assert again.losses == pytest.approx(whole.losses, rel=1e-5)
    assert again.losses[:8] == shared.losses[:8], "what the checkpoint holds is not done again"


@pytest.mark.slow
def test_killed_and_started_again_gives_the_same_loss_curve(
    whole, small_folder: Path, tmp_path: Path
) -> None:
    script = SLOW.format(
        here=str(Path(__file__).parent), model=str(small_folder), folder=str(tmp_path / "killed")
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    checkpoint = tmp_path / "killed" / "checkpoint" / "about.json"
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if checkpoint.exists() and len(json.loads(checkpoint.read_bytes())["losses"]) == 6:
            break
        time.sleep(0.05)
    assert process.poll() is None, "it ended before it was killed"
    time.sleep(0.2)  # into step 7, which is not stored
    process.kill()
    process.wait()
    assert not (tmp_path / "killed" / "model").exists()
    steps: list[int] = []
    done = finetune(
        small_folder,
        DATA,
        SPEC,
        tmp_path / "killed",
        every=2,
        on_step=lambda n, *_: steps.append(n),
    )
    assert steps == [7, 8, 9]
    assert done.losses == whole.losses
    assert hash_file(done.model / "model.safetensors") == hash_file(
        whole.model / "model.safetensors"
    )


def test_asked_to_stop_it_stores_what_is_done(whole, small_folder: Path, tmp_path: Path) -> None:
    steps: list[int] = []

    def check() -> None:
        if len(steps) == 5:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        finetune(
            small_folder,
            DATA,
            SPEC,
            tmp_path,
            every=100,
            on_step=lambda n, *_: steps.append(n),
            check=check,
        )
    more: list[int] = []
    done = finetune(
        small_folder, DATA, SPEC, tmp_path, every=100, on_step=lambda n, *_: more.append(n)
    )
    assert more[0] == 6 and done.losses == whole.losses


def test_a_finished_training_is_not_done_again(whole, small_folder: Path) -> None:
    again = finetune(
        small_folder,
        DATA,
        SPEC,
        whole.model.parent,
        on_step=lambda *_: pytest.fail("trained again"),
    )
    assert again == whole


def test_another_trainings_folder_is_refused(whole, small_folder: Path) -> None:
    with pytest.raises(RunFolderError, match="other data"):
        finetune(small_folder, DATA[:-1], SPEC, whole.model.parent)
