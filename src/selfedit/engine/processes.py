"""Several worker processes on this machine, each with its own copy of the model and its share of
the cores.

An inner loop of a small model is made of products too small to use several cores well: two
processes of one thread each finish about half as much again as one process of two. A group's
numbers depend on how many threads the worker has that runs it, not on which worker it is, so a run
repeats to the digit for the same number of workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from selfedit.config import Prompting, Settings
from selfedit.engine.base import Done, Engine, OnTokens, Reading, Room, TrialBatch, Writing
from selfedit.engine.children import Children, leave_signals_to_parent
from selfedit.errors import Interrupted, SelfEditError, Unavailable
from selfedit.lm.generate import Completion
from selfedit.run.interrupt import asked_to_stop


class Processes:
    """The engine of N worker processes.

    Args:
        count: workers.
        model: name or folder they load.
        device: where they load it.
        dtype: in what.
        deterministic: see `selfedit.load`.
        prompting: see `selfedit.load`: it says which tokens end an answer.

    Raises:
        Unavailable: a worker died (out of memory, most likely).
    """

    def __init__(
        self,
        count: int,
        model: str,
        device: str,
        dtype: str,
        deterministic: bool = False,
        prompting: Prompting = "auto",
    ) -> None:
        self.workers, self._device = count, device
        # The cores are shared out, or the workers would wait for each other's threads.
        threads = max(1, (os.cpu_count() or 1) // count)
        self._children = Children(_died)
        for number in range(count):
            options = {
                "device": _worker_device(device, number),
                "dtype": dtype,
                "deterministic": deterministic,
                "prompting": prompting,
            }
            self._children.start(_worker, model, options, threads, name=f"selfedit-worker-{number}")

    def run(
        self, batches: Sequence[TrialBatch], on_tokens: OnTokens, check: Callable[[], None]
    ) -> Iterator[tuple[int, Done]]:
        """See `Engine`. Asked to stop, it gives out no more work and raises once what is in hand is
        finished.

        If it is left early, the workers are stopped: what they had in hand is lost.
        """
        yield from self._share("batch", batches, on_tokens, check)

    def write(self, works: Sequence[Writing]) -> list[list[Completion]]:
        """See `Engine`."""
        return self._all("write", works)

    def read(self, works: Sequence[Reading]) -> list[list[float]]:
        """See `Engine`."""
        return self._all("read", works)

    def _all(self, kind: str, works: Sequence[Any]) -> list[Any]:
        # By number: workers finish in any order.
        done = dict(self._share(kind, works, lambda _: None, lambda: None))
        return [done[number] for number in range(len(works))]

    def _share(
        self, kind: str, works: Sequence[Any], on_tokens: OnTokens, check: Callable[[], None]
    ) -> Iterator[tuple[int, Any]]:
        """Give each piece of work to a worker that has none; yield (index, result) as they end."""
        children = self._children
        waiting = list(enumerate(works))[::-1]  # reversed for pop(): in the caller's order
        idle, busy = list(children.links), dict[Connection, int]()
        finished = False
        stopped: Interrupted | None = None
        try:
            while busy or (waiting and stopped is None):
                # A stop is remembered, not raised: what the workers have in hand is received.
                stopped = stopped or asked_to_stop(check)
                while waiting and idle and stopped is None:
                    link = idle.pop(0)
                    index, work = waiting.pop()
                    children.send(link, (kind, work))
                    busy[link] = index
                for link, reply, payload in children.receive(list(busy)):
                    if reply == "tokens":
                        on_tokens(cast("int", payload))
                    else:
                        # It can take the next piece before the caller has dealt with this one.
                        idle.append(link)
                        yield busy.pop(link), payload
            if stopped is not None:
                raise stopped
            finished = True
        finally:
            # Left early or with an error: a worker may be in work that nobody will receive.
            if not finished:
                self.close()

    def room(self) -> Room:
        """See `Engine`: on a CPU all of them have the machine's, on GPUs those of one device."""
        import torch

        from selfedit.lm.load import usable_device
        from selfedit.lm.memory import memory_bytes

        device = usable_device(self._device)
        on_gpu = device.type == "cuda"
        # One more on a GPU: this process has the model on the first of them.
        each = -(-self.workers // torch.cuda.device_count()) + 1 if on_gpu else self.workers
        return Room(*memory_bytes(device), sharing=each, device=device.type)

    def load_weights(self, folder: Path) -> None:
        """See `Engine`; a worker does it before its next piece of work."""
        for link in self._children.links:
            self._children.send(link, ("weights", folder))

    def close(self) -> None:
        """Stop the workers at once."""
        self._children.stop()


def _worker_device(device: str, number: int) -> str:
    """Worker ``number``'s device: with several GPUs, one of its own as long as there are as
    many.
    """
    # Here, not at the top: the command line imports this module without torch.
    import torch

    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    return f"cuda:{number % torch.cuda.device_count()}"


def workers_for(settings: Settings, model: str | None = None) -> Engine | None:
    """The worker processes or actors that the settings ask for; None if this process does it all.

    They load the run's model, or ``model`` if that is another one. Begun before this process loads
    its own: nothing here has touched a GPU yet, and both load at the same time.
    """
    if settings.engine.kind == "ray":
        # Here: an extra, and slow to import.
        from selfedit.engine.ray import RayEngine

        policy = Path(model) if model not in (None, settings.model) else None
        return RayEngine(settings, policy)
    count = worker_count(settings)
    if count == 1:
        return None
    return Processes(
        count,
        model or settings.model,
        settings.device,
        settings.dtype,
        settings.deterministic,
        settings.prompting,
    )


def worker_count(settings: Settings) -> int:
    """The processes that ``workers`` comes to on this machine."""
    if settings.workers != "auto":
        return settings.workers
    import torch

    on_gpu = settings.device in ("auto", "cuda") and torch.cuda.is_available()
    return torch.cuda.device_count() if on_gpu else 1


def _died() -> Unavailable:
    fix = "the run goes on where it stopped: start it again, with fewer workers if memory was short"
    return Unavailable("a worker process died", where="workers", fix=fix)


def _worker(link: Connection, model: str, options: Mapping[str, Any], threads: int) -> None:
    """A worker's life: load the model, then do what is sent until the other side is gone."""
    leave_signals_to_parent()
    import torch

    from selfedit.lm.load import load
    from selfedit.lm.memory import keep_memory

    keep_memory()
    torch.set_num_threads(threads)
    # The parent is gone, or closed its end: the worker's life is over.
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            lm = load(model, **options)
            while True:
                link.send(_answer(lm, link, *link.recv()))
        # Only errors meant for users cross; anything else ends the worker with its traceback.
        except SelfEditError as error:
            link.send(("error", error))


def _answer(lm: Any, link: Connection, kind: Any, payload: Any) -> tuple[str, Any]:
    """Do one thing; the tokens done are told on the way, which also notices a parent that
    is gone.
    """
    from selfedit.engine.local import run_work
    from selfedit.lm.weights import load_weights

    if kind == "weights":
        load_weights(lm, payload)
        return "tokens", 0
    return "done", run_work(lm, kind, payload, lambda tokens: link.send(("tokens", tokens)))
