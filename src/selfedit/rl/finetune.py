"""Full finetuning as a step of a run: checkpoints that a kill cannot tear, several processes that
share the weights.

The folder of a training holds ``checkpoint/`` (weights and moments as safetensors, the losses so
far as JSON), replaced whole every few steps, and at the end ``model/`` with the weights alone.
Started again with the same arguments it goes on from the last checkpoint: the same losses come out
as from an uninterrupted one, since the data order depends on the seed alone.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from selfedit.engine.children import Children, leave_signals_to_parent
from selfedit.errors import Interrupted, RunFolderError, SelfEditError, Unavailable, UsageError
from selfedit.inner.full import FullSpec, FullTraining
from selfedit.inner.job import TrainSequence
from selfedit.storage.bounded import BoundedReader
from selfedit.storage.files import canonical_json, fingerprint, folder_atomic

OnStep = Callable[[int, int, float], None]
"""Called after every step with (steps done, tokens done, loss)."""


@dataclass(frozen=True)
class Finetuned:
    """A finished training: its weights' folder, every step's loss, and the tokens trained on."""

    model: Path
    losses: tuple[float, ...]
    tokens: int


@dataclass(frozen=True)
class _Job:
    base: Path
    sequences: tuple[TrainSequence, ...]
    spec: FullSpec
    folder: Path
    every: int
    device: str

    @property
    def name(self) -> str:
        """What must be equal for a checkpoint to be gone on with."""
        sequences = [(s.ids, s.loss) for s in self.sequences]
        return fingerprint([sequences, asdict(self.spec)])


def finetune(
    base: Path,
    sequences: Sequence[TrainSequence],
    spec: FullSpec,
    folder: Path,
    *,
    every: int = 20,
    processes: int = 1,
    device: str = "cpu",
    on_step: OnStep = lambda *_: None,
    check: Callable[[], None] = lambda: None,
) -> Finetuned:
    """Train all weights, or go on with it from its last checkpoint.

    Args:
        base: folder of the model to start from.
        sequences: what to train on.
        spec: how.
        folder: the training's own folder.
        every: steps between two checkpoints.
        processes: that share the weights; on GPUs as many as there are, or fewer.
        device: "cpu" or "cuda".
        on_step: told after every step.
        check: asked between steps, may raise `Interrupted`; in one process what is done is stored
            first, with several what was done since the last checkpoint is done again.

    Raises:
        RunFolderError: the checkpoint is another training's, or altered.
        Unavailable: a process died, or there are fewer GPUs than processes.
    """
    if device not in ("cpu", "cuda"):
        raise UsageError(
            f"full finetuning runs on cpu or cuda, not on {device}",
            where="device",
            fix="set device",
        )
    job = _Job(base, tuple(sequences), spec, folder, every, device)
    if (done := _finished(job)) is None:
        folder.mkdir(parents=True, exist_ok=True)
        if processes == 1:
            _train_here(job, on_step, check)
        else:
            _spread(job, processes, on_step, check)
        done = _finished(job)
    if done is None:
        raise RunFolderError(
            "the training ended without its weights", where=folder, fix="start it again"
        )
    return done


def _train_here(job: _Job, on_step: OnStep, check: Callable[[], None]) -> None:
    """The training as every process runs it."""
    device = torch.device("cpu") if job.device == "cpu" else None
    training = FullTraining(job.base, job.sequences, job.spec, device)
    _take_up(training, job)
    while not training.finished:
        try:
            check()
        except Interrupted:
            if training.losses:
                _store_checkpoint(training, job)
            raise
        loss = training.step()
        on_step(len(training.losses), training.tokens, loss)
        if len(training.losses) % job.every == 0 and not training.finished:
            _store_checkpoint(training, job)
    weights = training.weights()
    if training.main:
        with folder_atomic(job.folder / "model") as new:
            save_file(weights, new / "model.safetensors", metadata={"format": "pt"})
            (new / "about.json").write_bytes(_record_of(training, job))


def _store_checkpoint(training: FullTraining, job: _Job) -> None:
    tensors, _ = training.state()
    if training.main:
        with folder_atomic(job.folder / "checkpoint") as new:
            save_file(tensors, new / "state.safetensors")
            (new / "about.json").write_bytes(_record_of(training, job))


def _record_of(training: FullTraining, job: _Job) -> bytes:
    return canonical_json({"losses": training.losses, "tokens": training.tokens, "job": job.name})


def _take_up(training: FullTraining, job: _Job) -> None:
    about = _read_about(job.folder / "checkpoint", job)
    if about is None:
        return
    path = job.folder / "checkpoint" / "state.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            training.take_up(_Lazy(file), about)
    except (SafetensorError, OSError, KeyError, RuntimeError) as error:
        fix = "remove the checkpoint's folder: the training begins anew"
        raise RunFolderError(
            f"the checkpoint cannot be read: {error}", where=path, fix=fix
        ) from error


class _Lazy:
    """A safetensors file as a mapping: a tensor is read when it is asked for."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.file.get_tensor(name)


def _finished(job: _Job) -> Finetuned | None:
    about = _read_about(job.folder / "model", job)
    return (
        None
        if about is None
        else Finetuned(job.folder / "model", tuple(about["losses"]), about["tokens"])
    )


def _read_about(folder: Path, job: _Job) -> Mapping[str, Any] | None:
    path = folder / "about.json"
    if not path.exists():
        return None
    reader = BoundedReader("the training's record", error=RunFolderError, fix=f"remove {folder}")
    about = reader.shape(reader.json(path), dict[str, Any], path)
    if about.get("job") != job.name:
        fix = f"remove {folder} to begin anew"
        raise RunFolderError(
            "this is of a training on other data or with other settings", where=path, fix=fix
        )
    return about


def _spread(job: _Job, processes: int, on_step: OnStep, check: Callable[[], None]) -> None:
    """Run the training in several processes; the first one tells how far it is."""
    if job.device == "cuda" and torch.cuda.device_count() < processes:
        what = f"{processes} processes want a GPU each, there are {torch.cuda.device_count()}"
        raise Unavailable(what, where="cpt.full.processes", fix="lower it")
    ranks, port = Children(_rank_died), _free_port()
    try:
        for rank in range(processes):
            ranks.start(_run_rank, job, rank, processes, port, name=f"selfedit-training-{rank}")
        _follow(ranks, on_step, check)
    finally:
        # After an error too: the others would wait for the lost one at the next collective.
        ranks.stop()


def _follow(ranks: Children, on_step: OnStep, check: Callable[[], None]) -> None:
    training = list(ranks.links)
    while training:
        check()
        for link, kind, payload in ranks.receive(training):
            if kind == "step":
                on_step(*cast("tuple[int, int, float]", payload))
            else:
                training.remove(link)


def _rank_died() -> Unavailable:
    fix = (
        "start the same command again: it goes on from the last checkpoint; with less memory, fewer"
        " cpt.full.rows"
    )
    return Unavailable("a training process died", where="cpt.full.processes", fix=fix)


def _run_rank(link: Connection, job: _Job, rank: int, processes: int, port: int) -> None:
    """One process's life; rank 0 tells of the steps, all tell when they are done."""
    leave_signals_to_parent()
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    threads = max(1, (os.cpu_count() or 1) // processes)
    os.environ |= where | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "OMP_NUM_THREADS": str(threads),
    }
    if job.device == "cpu":
        torch.set_num_threads(threads)
    tell: OnStep = (lambda *step: link.send(("step", step))) if rank == 0 else (lambda *_: None)
    with suppress(BrokenPipeError):
        try:
            _train_here(job, tell, lambda: None)
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()
            link.send(("done", rank))
        except SelfEditError as error:
            link.send(("error", error))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
