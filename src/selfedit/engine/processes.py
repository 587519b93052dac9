"""Several worker processes on this machine, each with its own copy of the model and its share of
the cores.

An inner loop of a small model is made of products too small to use several cores well: two
processes of one thread each finish about half as much again as one process of two. A group's
numbers depend on how many threads the worker has that runs it, not on which worker it is, so a run
repeats to the digit for the same number of workers.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from selfedit.config import Prompting, Settings
from selfedit.engine.base import Done, Engine, OnTokens, Reading, TrialBatch, Writing
from selfedit.engine.local import LocalEngine
from selfedit.errors import Interrupted, SelfEditError, Unavailable
from selfedit.lm.generate import Completion
from selfedit.lm.load import LanguageModel
from selfedit.run.interrupt import SIGNALS

POLL_SECONDS = 0.5
"""How often the caller's wish to stop is looked at while the workers work."""


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
        self.workers = count
        threads = max(1, (os.cpu_count() or 1) // count)
        context = multiprocessing.get_context("spawn")
        resource_tracker.ensure_running()  # it would let signals through again when it starts
        self._links: list[Connection] = []
        self._workers: list[Any] = []
        # At the process's end at the latest: Python would wait for them then.
        self._end = weakref.finalize(self, _end, self._workers, self._links)
        for number in range(count):
            here, there = context.Pipe()
            options = {
                "device": _device(device, number),
                "dtype": dtype,
                "deterministic": deterministic,
                "prompting": prompting,
            }
            arguments = (there, model, options, threads)
            worker = context.Process(
                target=_worker, args=arguments, daemon=True, name=f"selfedit-worker-{number}"
            )
            with _blocked(SIGNALS):
                worker.start()
                self._workers.append(worker)
            there.close()
            self._links.append(here)

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
        done = dict(self._share(kind, works, lambda _: None, lambda: None))
        return [done[number] for number in range(len(works))]

    def _share(
        self, kind: str, works: Sequence[Any], on_tokens: OnTokens, check: Callable[[], None]
    ) -> Iterator[tuple[int, Any]]:
        """Give each piece of work to a worker that has none; yield (index, result) as they finish."""
        waiting = list(enumerate(works))[::-1]
        idle, busy = list(self._links), dict[Any, int]()
        finished = False
        stopped: Interrupted | None = None
        try:
            while busy or (waiting and stopped is None):
                stopped = stopped or _asked_to_stop(check)
                while waiting and idle and stopped is None:
                    link = idle.pop(0)
                    index, work = waiting.pop()
                    self._send(link, (kind, work))
                    busy[link] = index
                for link in wait(list(busy), timeout=POLL_SECONDS):
                    reply, payload = self._receive(link)
                    if reply == "tokens":
                        on_tokens(payload)
                    else:
                        idle.append(link)  # pyright: ignore[reportArgumentType]
                        yield busy.pop(link), payload
            if stopped is not None:
                raise stopped
            finished = True
        finally:
            if not finished:
                self.close()

    def load_weights(self, folder: Path) -> None:
        """See `Engine`."""
        for link in self._links:
            self._send(link, ("weights", folder))

    def close(self) -> None:
        """Stop the workers at once."""
        with _blocked(SIGNALS):  # an impatient Ctrl-C must not leave half of them
            self._end()

    def _send(self, link: Connection, message: tuple[str, Any]) -> None:
        try:
            link.send(message)
        except OSError as error:
            raise _died() from error

    def _receive(self, link: Any) -> tuple[str, Any]:
        try:
            kind, payload = link.recv()
        except (EOFError, OSError) as error:
            raise _died() from error
        if kind == "error":
            raise payload
        return kind, payload


def _device(device: str, number: int) -> str:
    """Worker ``number``'s device: with several GPUs, one of its own as long as there are as many."""
    import torch

    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    return f"cuda:{number % torch.cuda.device_count()}"


def engine_for(lm: LanguageModel, settings: Settings, model: str | None = None) -> Engine:
    """This process, or as many worker processes as the settings ask for; they load ``model`` if it
    is another one.
    """
    count = worker_count(settings)
    if count == 1:
        return LocalEngine(lm)
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


@contextmanager
def _blocked(signals: Sequence[signal.Signals]) -> Iterator[None]:
    """Let signals wait. A process that is started meanwhile is born with them waiting, so that none
    ends it before it says that it ignores them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _asked_to_stop(check: Callable[[], None]) -> Interrupted | None:
    try:
        check()
    except Interrupted as stopped:
        return stopped
    return None


def _end(workers: list[Any], links: list[Connection]) -> None:
    for worker in workers:
        worker.kill()  # they ignore everything else
    for worker in workers:
        worker.join()
    for link in links:
        link.close()
    workers.clear()
    links.clear()


def _died() -> Unavailable:
    fix = "the run goes on where it stopped: start it again, with fewer workers if memory was short"
    return Unavailable("a worker process died", where="workers", fix=fix)


def _worker(link: Connection, model: str, options: Mapping[str, Any], threads: int) -> None:
    """A worker's life: load the model, then do what is sent until the other side is gone."""
    for number in SIGNALS:  # the parent is asked to stop, and stops us
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    import torch

    from selfedit.lm.load import load
    from selfedit.lm.memory import keep_memory

    keep_memory()
    torch.set_num_threads(threads)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            lm = load(model, **options)
            while True:
                link.send(_answer(lm, link, *link.recv()))
        except SelfEditError as error:
            link.send(("error", error))


def _answer(lm: Any, link: Connection, kind: str, payload: Any) -> tuple[str, Any]:
    """Do one thing; the tokens done are told on the way, which also notices a parent that is gone."""
    from selfedit.engine.local import run_batch, run_reading, run_writing
    from selfedit.lm.load import load_weights

    if kind == "weights":
        load_weights(lm, payload)
        return "tokens", 0
    if kind == "write":
        return "done", run_writing(lm, payload)
    if kind == "read":
        return "done", run_reading(lm, payload)
    return "done", run_batch(lm, payload, lambda tokens: link.send(("tokens", tokens)))
