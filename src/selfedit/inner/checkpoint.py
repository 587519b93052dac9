"""A training's state on the disk, so that a long one goes on where it stopped, with equal bytes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from selfedit.errors import ModelFileError
from selfedit.inner.trainer import StepRunner, TrainingGroup
from selfedit.storage.files import fingerprint, remove, write_atomic

# The order of `_state`.
_MOMENTS = ("values", "first", "second", "counts")
_RUNNER, _FINISHED = "runner.", "finished."
Matrices = dict[str, tuple[Tensor, Tensor]]
"""A and B of every module that an adapter is on."""
Finished = Mapping[int, Matrices]
"""By the job's number."""


@dataclass
class Checkpoint:
    """Where the state of a training is kept.

    Attributes:
        path: the file, or of several jobs how their files' names begin; its folder is there.
        key: names the training: what is kept of another one is refused.
        seconds: a state is written when the last one is as old.
        at_end: a state is written after the last step too: other banks may still be under way.
    """

    path: Path
    key: str
    seconds: float = 60.0
    at_end: bool = False

    def __post_init__(self) -> None:
        # Counted from when the training began: a short one never writes.
        self._last = time.monotonic()

    def of_bank(self, jobs: Sequence[int], rows: int, *, alone: bool) -> Checkpoint:
        """The checkpoint of the bank that trains these of several jobs in so many rows, alone or
        beside others.
        """
        name = fingerprint([list(jobs), rows])[:8]
        path = self.path.with_stem(f"{self.path.stem}-{name}")
        return Checkpoint(path, f"{self.key} {name}", self.seconds, at_end=not alone)

    def remove(self) -> None:
        """Remove what is kept, of every bank."""
        for path in self.path.parent.glob(f"{self.path.stem}*{self.path.suffix}"):
            remove(path)

    def write_if_due(
        self, done: int, training: TrainingGroup, runner: StepRunner, finished: Finished
    ) -> None:
        """As `write`, now and then."""
        if time.monotonic() - self._last >= self.seconds:
            self.write(done, training, runner, finished)

    def write(
        self, done: int, training: TrainingGroup, runner: StepRunner, finished: Finished
    ) -> None:
        """Keep the state after `done` steps, and the matrices of the jobs that have finished.

        Raises:
            StorageFull, StorageFailed: the state before is left as it was.
        """
        # The device may be steps behind the host: what is written must be what `done` says.
        runner.wait()
        state = {name: tensor.cpu().contiguous() for name, tensor in _state(training).items()}
        state |= {f"{_RUNNER}{name}": tensor.cpu() for name, tensor in runner.state().items()}
        for k, matrices in finished.items():
            for name, pair in matrices.items():
                state |= {
                    f"{_FINISHED}{k}.{side}.{name}": t for side, t in zip("ab", pair, strict=True)
                }
        # Of the content: a file that can be read may still have wrong bits.
        about = {"key": self.key, "done": str(done), "sha256": _content_hash(state)}
        write_atomic(self.path, save(state, metadata=about))
        self._last = time.monotonic()

    def read(self) -> KeptState:
        """What is kept; a state of 0 steps where nothing is.

        Raises:
            ModelFileError: the file is damaged, or another training's.
        """
        if not self.path.exists():
            return KeptState(self, 0, {})
        state, about = self._read()
        try:
            return KeptState(self, int(about["done"]), state)
        except (KeyError, ValueError) as error:
            raise self.refused(str(error)) from error

    def _read(self) -> tuple[dict[str, Tensor], Mapping[str, str]]:
        try:
            with safe_open(self.path, "pt") as file:
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                about = file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise self.refused(str(error)) from error
        # The key names settings and data: a state of other ones would go on silently.
        if about.get("key") != self.key or about.get("sha256") != _content_hash(state):
            raise self.refused("it is damaged, or another training's")
        return state, about

    def refused(self, reason: str) -> ModelFileError:
        """The error that says why the file cannot be used."""
        what = f"the training's checkpoint cannot be gone on with: {reason}"
        return ModelFileError(what, where=self.path, fix="remove it: the training begins anew")


@dataclass(frozen=True)
class KeptState:
    """What a checkpoint has kept of a training.

    Attributes:
        checkpoint: the one it was read from.
        done: steps that were done.
        tensors: of the bank, its optimiser, the runner, and finished adapters.
    """

    checkpoint: Checkpoint
    done: int
    tensors: Mapping[str, Tensor]

    def restore(self, training: TrainingGroup, runner: StepRunner) -> None:
        """Put the training into this state.

        Raises:
            ModelFileError: it is not of its shape.
        """
        try:
            with torch.no_grad():
                for name, tensor in _state(training).items():
                    tensor.copy_(self.tensors[name])
                # What products read is derived from the values: it is not stored.
                training.bank.computed.copy_(training.bank.values)
            runner.restore(self._below(_RUNNER))
        except (KeyError, ValueError, RuntimeError) as error:
            raise self.checkpoint.refused(str(error)) from error

    def finished(self, k: int) -> Matrices:
        """The matrices of a job that had finished.

        Raises:
            ModelFileError: they are not there.
        """
        first, second = (self._below(f"{_FINISHED}{k}.{side}.") for side in "ab")
        if not first or first.keys() != second.keys():
            raise self.checkpoint.refused(f"the finished adapter {k} is missing")
        return {name: (first[name], second[name]) for name in first}

    def _below(self, prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }


def _state(training: TrainingGroup) -> dict[str, Tensor]:
    """The rows of the bank and what the optimiser keeps of them; not copies."""
    optimiser = training.optimiser
    tensors = (training.bank.values, optimiser.first, optimiser.second, optimiser.counts)
    return dict(zip(_MOMENTS, tensors, strict=True))


def _content_hash(state: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        # Shape and type belong to the content: the same bytes may be two tensors.
        total.update(json.dumps([name, list(tensor.shape), str(tensor.dtype)]).encode())
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
