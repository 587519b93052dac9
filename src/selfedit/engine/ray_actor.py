"""One actor of a Ray cluster: the model, and what is done with it."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from selfedit._version import __version__
from selfedit.engine.local import Work, run_work
from selfedit.errors import SelfEditError, Unavailable
from selfedit.lm.load import LanguageModel

Handle = Any
"""Ray's handle of an actor: its methods have a ``remote`` that gives a `Call`."""
Call = Any
"""Ray's reference to what a call gives back."""


@dataclass(frozen=True)
class Card:
    """What a worker says of itself when it is ready.

    Attributes:
        node: its address.
        selfedit, torch: versions.
        kind: of its device.
        total, free: memory of its device, bytes.
    """

    node: str
    selfedit: str
    torch: str
    kind: str
    total: int
    free: int

    def __str__(self) -> str:
        return f"node {self.node}"


class RayWorker:
    """One actor: the model, and what is done with it."""

    def __init__(self) -> None:
        # An interrupt of the driver's terminal is the driver's to answer.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._generation = 0
        self._lm: LanguageModel

    def start(self, model: str, options: Mapping[str, Any], threads: int) -> Card:
        """Load the model. Apart from ``__init__``, so that an error comes back as it is.

        Raises:
            Unavailable: this node cannot load it.
        """
        import torch

        from selfedit.lm.load import load
        from selfedit.lm.memory import keep_memory, memory_bytes

        keep_memory()
        torch.set_num_threads(threads)
        node = ray.util.get_node_ip_address()
        try:
            self._lm = load(model, **options)
        except SelfEditError as error:
            fix = f"{error.fix or ''}; every node needs the model where its name says".lstrip("; ")
            what = f"node {node} cannot load the model: {error.what}"
            raise Unavailable(what, where=error.where, fix=fix) from error
        total, free = memory_bytes(self._lm.device)
        return Card(node, __version__, torch.__version__, self._lm.device.type, total, free)

    def do(self, piece: tuple[Work, object], generation: int, weights: Sequence[Call]) -> object:
        """Do a piece of work with the policy of a generation, whose weights are fetched if they are
        new here.
        """
        from selfedit.lm.weights import load_weight_bytes

        if generation != self._generation:
            load_weight_bytes(self._lm, _bytes_of(ray.get(weights[0])), "the policy")
            self._generation = generation
        return run_work(self._lm, *piece, lambda _: None)


def _bytes_of(files: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: bytes(memoryview(array)) for name, array in files.items()}
