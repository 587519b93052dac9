"""One thread that decodes for everybody: requests join the batch as they come, each is told of its
text piece by piece, and one whose client has gone leaves at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from selfedit.lm.live import LiveDecoder
from selfedit.lm.live_row import LiveRow
from selfedit.lm.load import LanguageModel
from selfedit.serving.text_stream import TextStream
from selfedit.serving.ticket import Emit, Ticket


class QueueFull(Exception):
    """As many requests wait as may."""


class Closing(Exception):
    """The server is about to end and takes nothing new."""


class Scheduler:
    """Decodes in a thread of its own from `start` to `stop`.

    Args:
        lm: the model; nobody else computes with it meanwhile.
        most: rows at once.
        adapters: adapters at once.
        waiting: rows that may wait for a place.
    """

    def __init__(self, lm: LanguageModel, *, most: int, adapters: int, waiting: int) -> None:
        self._lm, self._most, self._adapters = lm, most, adapters
        self._decoder = LiveDecoder(lm, most, adapters)
        self._room = waiting
        self._waiting: deque[Ticket] = deque()
        self._live: list[Ticket] = []
        self._change = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="decoding", daemon=True)

    def start(self) -> None:
        """Begin to decode."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing new, turn away what waits, and end when what runs has ended."""
        with self._change:
            self._closing = True
            waiting, self._waiting = list(self._waiting), deque()
            self._change.notify()
        for ticket in waiting:
            ticket.emit(Closing())

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the thread's end; whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def load(self) -> dict[str, int]:
        """How many rows are decoded now, and how many wait."""
        return {"running": len(self._live), "waiting": len(self._waiting)}

    def submit(
        self, rows: Sequence[LiveRow], stop: Sequence[str], emits: Sequence[Emit]
    ) -> list[Ticket]:
        """Let rows join as soon as there is room: all of them, or none.

        Raises:
            QueueFull: too many wait already.
            Closing: the server is about to end.
        """
        tickets = [
            Ticket(row, TextStream(self._lm.decode, stop), emit)
            for row, emit in zip(rows, emits, strict=True)
        ]
        with self._change:
            if self._closing:
                raise Closing
            if len(self._waiting) + len(rows) > self._room:
                raise QueueFull
            self._waiting += tickets
            self._change.notify()
        return tickets

    def cancel(self, tickets: Sequence[Ticket]) -> None:
        """Give up texts that nobody waits for any more; those that have ended stay as they are."""
        with self._change:
            for ticket in tickets:
                ticket.cancelled = True
            self._change.notify()

    def _run(self) -> None:
        while self._has_work():
            try:
                self._turn()
            # Whatever went wrong, memory say, is these requests' end and not the server's.
            except Exception as error:
                self._fail(error)

    def _has_work(self) -> bool:
        with self._change:
            self._change.wait_for(lambda: self._busy or self._closing)
            return self._busy

    @property
    def _busy(self) -> bool:
        # A row that has ended by a stop string is still in the decoder, with its cache.
        return bool(self._waiting or self._live or self._decoder.rows)

    def _turn(self) -> None:
        """Let go, let in, and one token for each."""
        for ticket in self._live:
            if ticket.cancelled:
                ticket.row.finish = "cancelled"
        self._live = [ticket for ticket in self._live if not ticket.cancelled]
        self._decoder.step()
        if joining := self._next():
            self._live += joining
            self._decoder.join([ticket.row for ticket in joining])
        for ticket in self._live:
            ticket.advance()
        self._live = [ticket for ticket in self._live if not ticket.finished]

    def _next(self) -> list[Ticket]:
        """The first of those that wait, as many as can join."""
        with self._change:
            self._waiting = deque(ticket for ticket in self._waiting if not ticket.cancelled)
            first = [self._waiting[n] for n in range(min(self._most, len(self._waiting)))]
            count = self._decoder.fitting([ticket.row for ticket in first])
            for _ in range(count):
                self._waiting.popleft()
        return first[:count]

    def _fail(self, error: Exception) -> None:
        """End the requests of a batch that failed; if none ran, those that could not begin."""
        self._decoder = LiveDecoder(self._lm, self._most, self._adapters)
        with self._change:
            failed, self._live = self._live, []
            if not failed:
                failed, self._waiting = list(self._waiting), deque()
        for ticket in failed:
            ticket.emit(error)
