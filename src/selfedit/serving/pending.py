"""A reply whose texts come in piece by piece: gathered, or sent on as events."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from selfedit.errors import SelfEditError
from selfedit.serving.failures import Failure, failure_of
from selfedit.serving.replies import ReplyForm, Text
from selfedit.serving.scheduler import Closing
from selfedit.serving.service import Service
from selfedit.serving.ticket import Emit, TextPiece, Ticket

Arrivals = asyncio.Queue[tuple[int, TextPiece | Exception]]
"""Pieces, each with the number of its text, or what ended it."""
_LOG = logging.getLogger(__name__)


class PendingReply:
    """The texts of one request as they come in."""

    def __init__(
        self,
        service: Service,
        form: ReplyForm,
        tickets: Sequence[Ticket],
        arrivals: Arrivals,
        count: int,
    ) -> None:
        self._service, self._form = service, form
        self._tickets, self._arrivals = tickets, arrivals
        self._texts = [Text() for _ in range(count)]
        self._until = asyncio.get_running_loop().time() + service.limits.max_seconds

    def give_up(self) -> None:
        """Let the batch have the places of what is not finished."""
        self._service.scheduler.cancel(self._tickets)

    async def texts(self) -> list[Text]:
        """All of them, when they have ended."""
        async for _ in self._pieces():
            pass
        return self._texts

    async def events(self, *, usage: bool) -> AsyncIterator[bytes]:
        """Server-sent events, a chunk each."""
        try:
            if self._form.chat:
                for number in range(len(self._texts)):
                    yield _event(self._form.opening(number))
            async for number, piece in self._pieces():
                yield _event(self._form.chunk(number, piece))
            if usage:
                yield _event(self._form.closing(self._texts))
        except Failure as failure:
            yield _event(failure.body)
        yield b"data: [DONE]\n\n"

    async def _pieces(self) -> AsyncIterator[tuple[int, TextPiece]]:
        open_texts = len(self._texts)
        while open_texts:
            try:
                async with asyncio.timeout_at(self._until):
                    number, piece = await self._arrivals.get()
            except TimeoutError:
                raise Failure(504, "the answer did not come in time", code="timeout") from None
            if isinstance(piece, Exception):
                raise _told(piece)
            self._texts[number].take(piece)
            open_texts -= piece.finish is not None
            yield number, piece


class Events(StreamingResponse):
    """A stream of events; whatever ends it, ``at_end`` is called."""

    def __init__(
        self, events: AsyncIterator[bytes], at_end: Callable[[], None], headers: dict[str, str]
    ) -> None:
        super().__init__(
            events,
            media_type="text/event-stream",
            headers=headers | {"cache-control": "no-store", "x-accel-buffering": "no"},
        )
        self._at_end = at_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Starlette's."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._at_end()


def sender(arrivals: Arrivals) -> Callable[[int], Emit]:
    """What the decoding thread calls: it hands each piece over to the loop."""
    loop = asyncio.get_running_loop()

    def emit_to(number: int) -> Emit:
        def emit(piece: TextPiece | Exception) -> None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(arrivals.put_nowait, (number, piece))

        return emit

    return emit_to


def _told(error: Exception) -> Failure:
    if isinstance(error, Closing):
        return Failure(503, "the server is being stopped", code="closing")
    if not isinstance(error, SelfEditError):
        _LOG.error("a batch could not be computed", exc_info=error)
    return failure_of(error)


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"
