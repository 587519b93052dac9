"""Threads that send requests: so many under way and no more."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

POLL_SECONDS = 0.5
"""How often the caller's wish to stop is looked at while requests are under way."""

K = TypeVar("K")
Q = TypeVar("Q")
A = TypeVar("A")


class Senders(Generic[K, Q, A]):
    """Threads that die with the process, so that a second Ctrl-C need not wait for a slow endpoint.

    Args:
        send: does one request, in any thread; what it raises is an outcome too.
        requests: each with the key it is known by.
        size: threads at the most.

    Attributes:
        waiting: requests that nobody has in hand yet, the first one last.
        busy: requests in hand.
    """

    def __init__(self, send: Callable[[Q], A], requests: Iterable[tuple[K, Q]], size: int) -> None:
        self.waiting = list(requests)[::-1]
        self.busy = 0
        self._size = min(size, len(self.waiting))
        self._send = send
        self._todo: queue.SimpleQueue[tuple[K, Q] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[K, A | BaseException]] = queue.SimpleQueue()
        for _ in range(self._size):
            threading.Thread(target=self._work, daemon=True, name="selfedit-endpoint").start()

    def give_out(self) -> None:
        """Keep every thread busy, and no more than that under way."""
        while self.waiting and self.busy < self._size:
            self._todo.put(self.waiting.pop())
            self.busy += 1

    def collect(self) -> list[tuple[K, A | BaseException]]:
        """What has come back; waits a moment for the first."""
        outcomes: list[tuple[K, A | BaseException]] = []
        try:
            outcomes.append(self._done.get(timeout=POLL_SECONDS))
            while True:
                outcomes.append(self._done.get_nowait())
        except queue.Empty:
            pass
        self.busy -= len(outcomes)
        return outcomes

    def close(self) -> None:
        """Send the threads home."""
        for _ in range(self._size):
            self._todo.put(None)

    def _work(self) -> None:
        while (task := self._todo.get()) is not None:
            key, request = task
            try:
                self._done.put((key, self._send(request)))
            except BaseException as error:
                self._done.put((key, error))
