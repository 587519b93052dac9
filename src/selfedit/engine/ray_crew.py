"""The actors of a Ray cluster as workers: begun where it has room, called, and what their calls'
ends mean.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import exceptions as failures

from selfedit._version import __version__
from selfedit.config import Settings
from selfedit.engine.crew import Outcome
from selfedit.engine.ray_actor import Call, Card, Handle, RayWorker
from selfedit.errors import SelfEditError, Unavailable, first_line

_LOG = logging.getLogger(__name__)
_GONE = (
    failures.RayActorError,
    failures.WorkerCrashedError,
    failures.NodeDiedError,
    failures.OutOfMemoryError,
    failures.LocalRayletDiedError,
)
_STORE_FULL = (failures.ObjectStoreFullError, failures.OutOfDiskError)


class RayCrew:
    """The actors: see `selfedit.engine.pool.Crew`.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.gpus = _gpus_of_worker(settings)
        engine = settings.engine
        self._make: Any = ray.remote(
            num_cpus=engine.cpus,
            num_gpus=self.gpus,
            max_restarts=0,  # a new actor is begun by the pool, which knows what it had in hand
            scheduling_strategy="SPREAD",
        )(RayWorker)
        self._options = {
            "device": _device(settings, self.gpus),
            "dtype": settings.dtype,
            "deterministic": settings.deterministic,
            "prompting": settings.prompting,
        }
        self._generation = 0
        self._weights: list[Call] = []

    def load_weights(self, folder: Path) -> None:
        """Put a policy's weights into the object store; workers fetch them with their next work."""
        import numpy as np

        from selfedit.lm.weights import weight_files

        files = {path.name: np.fromfile(path, dtype=np.uint8) for path in weight_files(folder)}
        with _told_if_full():
            self._weights = [ray.put(files)]
        self._generation += 1

    def wanted(self) -> int:
        """See `Crew`: as ``workers`` says; auto is as many as the cluster has room for now."""
        if self._settings.workers != "auto":
            return self._settings.workers
        resources: Mapping[str, float] = ray.cluster_resources()
        by_cpu = resources.get("CPU", 0) // self._settings.engine.cpus
        if not self.gpus:
            return int(max(1, by_cpu))
        return int(max(1, min(by_cpu, resources.get("GPU", 0) // self.gpus)))

    def most_on_a_node(self) -> int:
        """Workers that the node with most cores has room for."""
        cores = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        return max(1, int(max(cores, default=0) // self._settings.engine.cpus))

    def hire(self) -> tuple[Handle, Call]:
        """See `Crew`."""
        actor = self._make.remote()
        threads = self._settings.engine.cpus
        return actor, actor.start.remote(self._settings.model, self._options, threads)

    def call(self, worker: Handle, work: object) -> Call:
        """See `Crew`: work is its kind and what it is."""
        with _told_if_full():
            return worker.do.remote(work, self._generation, self._weights)

    def ended(self, calls: Sequence[Call], seconds: float) -> list[Call]:
        """See `Crew`."""
        return ended_calls(calls, seconds)

    def outcome(self, call: Call) -> Outcome:
        """See `Crew`."""
        try:
            result = ray.get(call)
            if isinstance(result, Card):
                self._check(result)
            return Outcome("done", result)
        except failures.TaskCancelledError:
            return Outcome("cancelled")
        except failures.RayTaskError as error:
            raise _of_worker(error) from error
        except _STORE_FULL as error:
            raise _full(error) from error
        except _GONE as error:
            return Outcome("died", reason=first_line(error))
        except failures.RayError as error:
            return Outcome("lost", reason=first_line(error))

    def cancel(self, call: Call) -> None:
        """See `Crew`."""
        ray.cancel(call)

    def dismiss(self, worker: Handle) -> None:
        """See `Crew`."""
        ray.kill(worker, no_restart=True)

    def about(self) -> str:
        """See `Crew`."""
        resources: Mapping[str, float] = ray.cluster_resources()
        cores, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
        each = f"{self._settings.engine.cpus} CPU and {self.gpus:g} GPU"
        return (
            f"Ray cluster {self._settings.engine.address}: {cores:g} CPU and {gpus:g} GPU in all, a"
            f" worker asks for {each}"
        )

    def _check(self, card: Card) -> None:
        """Other code there would compute something else."""
        import torch

        if card.selfedit != __version__:
            what = f"a node has selfedit {card.selfedit}, this process {__version__}"
            raise Unavailable(what, where=str(card), fix="install the same version on every node")
        if card.torch != torch.__version__:
            _LOG.warning("%s has torch %s, here it is %s", card, card.torch, torch.__version__)


def ended_calls(calls: Sequence[Call], seconds: float) -> list[Call]:
    """All calls that have ended, as soon as one has; at the latest after so many seconds."""
    over, rest = ray.wait(list(calls), num_returns=1, timeout=seconds)
    # Many workers end in the same moment.
    if over and rest:
        over += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
    return over


def _gpus_of_worker(settings: Settings) -> float:
    """GPUs a worker asks for."""
    if settings.engine.gpus is not None:
        return settings.engine.gpus
    on_gpu = settings.device in ("auto", "cuda") and ray.cluster_resources().get("GPU", 0) >= 1
    return 1.0 if on_gpu else 0.0


def _device(settings: Settings, gpus: float) -> str:
    """A worker's device: what it asked for is what it sees."""
    return ("cuda" if gpus else "cpu") if settings.device in ("auto", "cuda") else settings.device


def _of_worker(error: failures.RayTaskError) -> SelfEditError:
    """What a worker raised, for the user."""
    cause = error.cause
    if isinstance(cause, SelfEditError):
        return cause  # with its own what, where and fix
    _LOG.error("a worker failed:\n%s", error.traceback_str)
    what = f"a worker failed: {type(cause).__name__}: {first_line(cause)}"
    return Unavailable(what, where="a node of the cluster", fix="see its traceback above")


@contextmanager
def _told_if_full() -> Iterator[None]:
    try:
        yield
    except _STORE_FULL as error:
        raise _full(error) from error


def _full(error: BaseException) -> Unavailable:
    what = f"the cluster's object store is full: {first_line(error)}"
    fix = "start the nodes with more (ray start --object-store-memory BYTES), or free disk for it"
    return Unavailable(what, where="Ray", fix=fix)
