"""A training's state on the disk, so that a long one goes on where it stopped, with equal bytes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from selfedit.errors import ModelFileError
from selfedit.inner.trainer import StepRunner, TrainingGroup
from selfedit.storage.files import write_atomic

# The order of `_state`.
_MOMENTS = ("values", "first", "second", "counts")


@dataclass
class Checkpoint:
    """Where the state of one job's training is kept.

    Attributes:
        path: the file; its folder is there.
        key: names the training: what is kept of another one is refused.
        seconds: a state is written when the last one is as old.
    """

    path: Path
    key: str
    seconds: float = 60.0

    def __post_init__(self) -> None:
        # Counted from when the training began: a short one never writes.
        self._last = time.monotonic()

    def write_if_due(self, done: int, training: TrainingGroup, runner: StepRunner) -> None:
        """As `write`, now and then."""
        if time.monotonic() - self._last >= self.seconds:
            self.write(done, training, runner)

    def write(self, done: int, training: TrainingGroup, runner: StepRunner) -> None:
        """Keep the state after `done` steps.

        Raises:
            StorageFull, StorageFailed: the state before is left as it was.
        """
        # The device may be steps behind the host: what is written must be what `done` says.
        runner.wait()
        state = {name: tensor.cpu().contiguous() for name, tensor in _state(training).items()}
        state |= {f"runner.{name}": tensor.cpu() for name, tensor in runner.state().items()}
        # Of the content: a file that can be read may still have wrong bits.
        about = {"key": self.key, "done": str(done), "sha256": _content_hash(state)}
        write_atomic(self.path, save(state, metadata=about))
        self._last = time.monotonic()

    def read(self, training: TrainingGroup, runner: StepRunner) -> int:
        """Put the training into the kept state; returns the steps it has done, 0 without a state.

        Raises:
            ModelFileError: the file is damaged, or another training's.
        """
        if not self.path.exists():
            return 0
        state, about = self._read()
        try:
            with torch.no_grad():
                for name, tensor in _state(training).items():
                    tensor.copy_(state[name])
                # What products read is derived from the values: it is not stored.
                training.bank.computed.copy_(training.bank.values)
            inner = {
                name.removeprefix("runner."): tensor
                for name, tensor in state.items()
                if name not in _MOMENTS
            }
            runner.restore(inner)
            return int(about["done"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise self._refused(str(error)) from error

    def _read(self) -> tuple[dict[str, Tensor], Mapping[str, str]]:
        try:
            with safe_open(self.path, "pt") as file:
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                about = file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise self._refused(str(error)) from error
        # The key names settings and data: a state of other ones would go on silently.
        if about.get("key") != self.key or about.get("sha256") != _content_hash(state):
            raise self._refused("it is damaged, or another training's")
        return state, about

    def _refused(self, reason: str) -> ModelFileError:
        what = f"the training's checkpoint cannot be gone on with: {reason}"
        return ModelFileError(what, where=self.path, fix="remove it: the training begins anew")


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
