"""Processes that this one starts, talks to over a pipe each, and ends: workers of an engine, ranks
of a training.

A signal meant for the user's command reaches the whole group of processes. Children let it pass:
this process is asked to stop, and stops them.
"""

from __future__ import annotations

import multiprocessing
import signal
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from selfedit.errors import SelfEditError, Unavailable
from selfedit.run.interrupt import SIGNALS, ignore_signals

POLL_SECONDS = 0.5
"""How often the caller's wish to stop is looked at while children work."""


class Children:
    """Child processes with a pipe each; none is left behind after `stop`.

    Args:
        died: the error to raise when one of them ends without having said why.
    """

    def __init__(self, died: Callable[[], Unavailable]) -> None:
        self.processes: list[BaseProcess] = []
        self.links: list[Connection] = []
        self._died = died
        # At this process's end at the latest: Python would wait for them then.
        self._end = weakref.finalize(self, _end, self.processes, self.links)
        # spawn: a fork would copy a process that has threads and, on a GPU, a CUDA context.
        self._context = multiprocessing.get_context("spawn")
        resource_tracker.ensure_running()  # it would let signals through again when it starts

    def start(self, target: Callable[..., None], *arguments: object, name: str) -> None:
        """Start ``target(link, *arguments)`` in a process of its own; it calls
        `leave_signals_to_parent`.
        """
        parent_end, child_end = self._context.Pipe()
        process = self._context.Process(
            target=target, args=(child_end, *arguments), daemon=True, name=name
        )
        with _blocked(SIGNALS):
            process.start()
            self.processes.append(process)
        # This process's copy: with it open, a dead child's pipe would never end.
        child_end.close()
        self.links.append(parent_end)

    def send(self, link: Connection, message: tuple[str, object]) -> None:
        """Send a child something; raises what ``died`` gives where it is gone."""
        try:
            link.send(message)
        except OSError as error:
            raise self._died() from error

    def receive(self, links: Sequence[Connection]) -> Iterator[tuple[Connection, str, object]]:
        """What these children have sent: (link, kind, payload). Comes back after `POLL_SECONDS`
        even without any.

        Raises:
            SelfEditError: what a child sent as its error, or what ``died`` gives.
        """
        for link in wait(links, timeout=POLL_SECONDS):
            assert isinstance(link, Connection)
            try:
                kind, payload = link.recv()
            except (EOFError, OSError) as error:
                raise self._died() from error
            if kind == "error":
                assert isinstance(payload, SelfEditError)
                raise payload  # with its own what, where and fix
            yield link, kind, payload

    def stop(self) -> None:
        """End the children at once, and for good."""
        with _blocked(SIGNALS):  # an impatient Ctrl-C must not leave half of them
            self._end()


def _end(processes: list[BaseProcess], links: list[Connection]) -> None:
    # SIGKILL: they ignore everything else, and hold nothing that may not be lost.
    for process in processes:
        process.kill()
    for process in processes:
        process.join()
    for link in links:
        link.close()
    processes.clear()
    links.clear()


def leave_signals_to_parent() -> None:
    """A child's first call: what asks the parent to stop does not end the child."""
    ignore_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


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
