"""Workers that are actors of a Ray cluster, on this machine or on many.

An actor asks the cluster for a GPU, or for cores, and loads the model there once. Groups go to it as
calls, a new policy goes once into the cluster's object store, results come back to this process,
which alone writes the run's ledger. Who is given what is decided in `engine.pool`; nodes may join
and leave, and an actor that dies costs the group it had in hand, which is given out again.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from selfedit.config import Settings
from selfedit.engine.base import Done, OnTokens, Reading, Room, TrialBatch, Writing
from selfedit.engine.local import Work, run_work
from selfedit.engine.pool import Outcome, Pool
from selfedit.errors import SelfEditError, Unavailable
from selfedit.lm.generate import Completion
from selfedit.run.interrupt import SIGNALS

try:
    import ray
    from ray import exceptions as failures
except ImportError as error:  # pragma: no cover - tried in an environment without it
    raise Unavailable(
        "Ray is not installed here",
        where="engine.kind = ray",
        fix="pip install 'selfedit[ray]', here and on every node",
    ) from error

_LOG = logging.getLogger(__name__)
_GONE = (
    failures.RayActorError,
    failures.WorkerCrashedError,
    failures.NodeDiedError,
    failures.OutOfMemoryError,
    failures.LocalRayletDiedError,
)
_FULL = (failures.ObjectStoreFullError, failures.OutOfDiskError)


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
        self._lm: Any = None

    def start(self, model: str, options: Mapping[str, Any], threads: int) -> Card:
        """Load the model. Apart from ``__init__``, so that an error comes back as it is.

        Raises:
            Unavailable: this node cannot load it.
        """
        import torch

        import selfedit
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
        return Card(
            node, selfedit.__version__, torch.__version__, self._lm.device.type, total, free
        )

    def do(self, kind: Work, work: Any, generation: int, weights: Sequence[Any]) -> Any:
        """Do a piece of work with the policy of a generation, whose weights are fetched if they are
        new here.
        """
        from selfedit.lm.load import load_weight_bytes

        if generation != self._generation:
            load_weight_bytes(self._lm, _bytes_of(ray.get(weights[0])), "the policy")
            self._generation = generation
        return run_work(self._lm, kind, work, lambda _: None)


def _bytes_of(files: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: bytes(memoryview(array)) for name, array in files.items()}


class RayCrew:
    """The actors: see `selfedit.engine.pool.Crew`.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.gpus = _gpus(settings)
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
        self._weights: list[Any] = []

    def load_weights(self, folder: Path) -> None:
        """Put a policy's weights into the object store; workers fetch them with their next work."""
        import numpy as np

        from selfedit.lm.load import weight_files

        files = {path.name: np.fromfile(path, dtype=np.uint8) for path in weight_files(folder)}
        with _told_if_full():
            self._weights = [ray.put(files)]
        self._generation += 1

    def wanted(self) -> int:
        """See `Crew`: as ``workers`` says; auto is as many as the cluster has room for now."""
        if self._settings.workers != "auto":
            return self._settings.workers
        there: Mapping[str, float] = ray.cluster_resources()
        by_cpu = there.get("CPU", 0) // self._settings.engine.cpus
        if not self.gpus:
            return int(max(1, by_cpu))
        return int(max(1, min(by_cpu, there.get("GPU", 0) // self.gpus)))

    def most_on_a_node(self) -> int:
        """Workers that the node with most cores has room for."""
        cores = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        return max(1, int(max(cores, default=0) // self._settings.engine.cpus))

    def hire(self) -> tuple[Any, Any]:
        """See `Crew`."""
        actor = self._make.remote()
        threads = self._settings.engine.cpus
        return actor, actor.start.remote(self._settings.model, self._options, threads)

    def call(self, worker: Any, work: Any) -> Any:
        """See `Crew`: work is its kind and what it is."""
        with _told_if_full():
            return worker.do.remote(*work, self._generation, self._weights)

    def ended(self, calls: Sequence[Any], seconds: float) -> list[Any]:
        """See `Crew`."""
        over, rest = ray.wait(list(calls), num_returns=1, timeout=seconds)
        # All that have ended by now: many workers end in the same moment.
        if over and rest:
            over += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        return over

    def outcome(self, call: Any) -> Outcome:
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
        except _FULL as error:
            raise _full(error) from error
        except _GONE as error:
            return Outcome("died", reason=_first_line(error))
        except failures.RayError as error:
            return Outcome("lost", reason=_first_line(error))

    def cancel(self, call: Any) -> None:
        """See `Crew`."""
        ray.cancel(call)

    def dismiss(self, worker: Any) -> None:
        """See `Crew`."""
        ray.kill(worker, no_restart=True)

    def about(self) -> str:
        """See `Crew`."""
        there: Mapping[str, float] = ray.cluster_resources()
        cores, gpus = there.get("CPU", 0), there.get("GPU", 0)
        asked = f"{self._settings.engine.cpus} CPU and {self.gpus:g} GPU"
        return (
            f"Ray cluster {self._settings.engine.address}: {cores:g} CPU and {gpus:g} GPU in all, a"
            f" worker asks for {asked}"
        )

    def _check(self, card: Card) -> None:
        """Other code there would compute something else."""
        import torch

        import selfedit

        if card.selfedit != selfedit.__version__:
            what = f"a node has selfedit {card.selfedit}, this process {selfedit.__version__}"
            raise Unavailable(what, where=str(card), fix="install the same version on every node")
        if card.torch != torch.__version__:
            _LOG.warning("%s has torch %s, here it is %s", card, card.torch, torch.__version__)


class RayEngine:
    """The engine of a Ray cluster.

    Args:
        settings: of the run: ``engine``, ``workers``, and the model that every worker loads by its
            name.
        policy: a model folder here whose weights the workers take instead.

    Raises:
        Unavailable: there is no such cluster, or it speaks another version.
    """

    def __init__(self, settings: Settings, policy: Path | None = None) -> None:
        self._ours = _connect(settings.engine.address)
        self._crew = RayCrew(settings)
        self._pool = Pool(self._crew, settings.engine.tries, settings.engine.start_seconds)
        self.workers = self._crew.wanted()
        if policy is not None:
            self.load_weights(policy)

    def run(
        self, batches: Sequence[TrialBatch], on_tokens: OnTokens, check: Callable[[], None]
    ) -> Iterator[tuple[int, Done]]:
        """See `Engine`; tokens are told when a group is done."""
        works = [("batch", batch) for batch in batches]
        for index, done in cast("Iterator[tuple[int, Done]]", self._pool.share(works, check)):
            on_tokens(sum(loop.tokens for loop in done.loops))
            yield index, done

    def write(self, works: Sequence[Writing]) -> list[list[Completion]]:
        """See `Engine`."""
        return self._all("write", works)

    def read(self, works: Sequence[Reading]) -> list[list[float]]:
        """See `Engine`."""
        return self._all("read", works)

    def _all(self, kind: Work, works: Sequence[object]) -> list[Any]:
        done = dict(self._pool.share([(kind, work) for work in works], lambda: None))
        return [done[number] for number in range(len(works))]

    def room(self) -> Room:
        """See `Engine`: of the worker with the least memory."""
        cards = [card for card in self._pool.cards() if isinstance(card, Card)]
        least = min(cards, key=lambda card: card.total)
        # Workers on CPUs of one node have its memory together, also those that are not up yet.
        sharing = 1 if least.kind == "cuda" else min(self.workers, self._crew.most_on_a_node())
        return Room(least.total, min(card.free for card in cards), sharing, least.kind)

    def load_weights(self, folder: Path) -> None:
        """See `Engine`."""
        self._crew.load_weights(folder)

    def close(self) -> None:
        """End the actors; the cluster too if it was begun for this run."""
        self._pool.close()
        if self._ours:
            ray.shutdown()
            self._ours = False


def _connect(address: str) -> bool:
    """Join the cluster; whether it is to be left again."""
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        quiet["include_dashboard"] = False
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        ray.init(address=address, namespace="selfedit", **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        what = f"the Ray cluster cannot be joined: {_first_line(error)}"
        fix = (
            "start one (ray start --head, on this machine), give engine.address = HOST:PORT or"
            " ray://HOST:PORT, use the same versions of Ray and Python everywhere, or begin one"
            " here with engine.address = local"
        )
        raise Unavailable(what, where=f"engine.address = {address}", fix=fix) from error
    # Ray answers SIGTERM by leaving at once; a run stores what is in hand.
    for number, handler in before.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)
    return True


def _gpus(settings: Settings) -> float:
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
    what = f"a worker failed: {type(cause).__name__}: {_first_line(cause)}"
    return Unavailable(what, where="a node of the cluster", fix="see its traceback above")


@contextmanager
def _told_if_full() -> Iterator[None]:
    try:
        yield
    except _FULL as error:
        raise _full(error) from error


def _full(error: BaseException) -> Unavailable:
    what = f"the cluster's object store is full: {_first_line(error)}"
    fix = "start the nodes with more (ray start --object-store-memory BYTES), or free disk for it"
    return Unavailable(what, where="Ray", fix=fix)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
