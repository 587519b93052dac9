"""An application on a socket: uvicorn, with bounds on connections and on the time they may take."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from selfedit.errors import Unavailable, UsageError
from selfedit.serving.failures import Failure
from selfedit.serving.limits import AGAIN_SECONDS, DRAIN_SECONDS, HEAD_SECONDS, IDLE_SECONDS

_LOOK_SECONDS = 0.1


class BoundedHttp(H11Protocol):
    """HTTP whose connections are counted, and closed where a request's head does not come."""

    most = 256
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore
        """See asyncio."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.write(_turned_away())
            transport.close()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        super().connection_lost(exc)
        self._unwatch()

    def _watch(self) -> None:
        """A head that has begun has to end; what has no request under way is such a one."""
        between: Any = self.cycle is None or self.cycle.response_complete
        if not between:
            self._unwatch()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _unwatch(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _turned_away() -> bytes:
    """The reply to a connection too many; no request of it is read."""
    failure = Failure(503, "too many connections are open; try again soon", code="full")
    body = json.dumps(failure.body).encode()
    head = (
        f"HTTP/1.1 503 Service Unavailable\r\n"
        f"retry-after: {AGAIN_SECONDS}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class WebServer(uvicorn.Server):
    """uvicorn without signal handlers of its own: the house has its own way to be stopped."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them."""
        yield


def http_server(application: ASGIApp, most: int) -> WebServer:
    """A server of an application with at most so many connections; `run_server` runs it."""
    # uvicorn's own log would repeat what clients send; what concerns a person is said elsewhere.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    return WebServer(
        uvicorn.Config(
            application,
            http=type("Http", (BoundedHttp,), {"most": most}),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(IDLE_SECONDS),
            timeout_graceful_shutdown=int(DRAIN_SECONDS),
        )
    )


def listening(host: str, port: int) -> socket.socket:
    """A socket bound to an address, so that a port in use is known before a model is loaded.

    Raises:
        Unavailable: the port is in use.
        UsageError: there is no such address here.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        where = f"{host}:{port}"
        if error.errno == errno.EADDRINUSE:
            fix = "end what listens there, or choose another: --port N (0 for any)"
            raise Unavailable("the port is in use", where=where, fix=fix) from None
        what = f"this address cannot be listened at: {error.strerror or error}"
        raise UsageError(what, where=where, fix="--host 127.0.0.1") from None
    return bound


def run_server(
    server: WebServer,
    bound: socket.socket,
    stopped: Callable[[], bool],
    started: Callable[[], None] = lambda: None,
    closing: Callable[[], None] = lambda: None,
) -> None:
    """Answer until ``stopped`` says so, then let what runs end, for `DRAIN_SECONDS` at the most.

    Args:
        server: from `http_server`.
        bound: from `listening`.
        stopped: asked ten times a second.
        started: called when clients can connect.
        closing: called when no more may, before what runs is waited for.
    """
    asyncio.run(_answer_until(server, bound, stopped, started, closing))


async def _answer_until(
    server: WebServer,
    bound: socket.socket,
    stopped: Callable[[], bool],
    started: Callable[[], None],
    closing: Callable[[], None],
) -> None:
    watching = asyncio.create_task(_watch(server, stopped, started, closing))
    try:
        await server.serve(sockets=[bound])
    finally:
        watching.cancel()


async def _watch(
    server: WebServer,
    stopped: Callable[[], bool],
    started: Callable[[], None],
    closing: Callable[[], None],
) -> None:
    while not server.started:
        await asyncio.sleep(_LOOK_SECONDS)
    started()
    while not stopped():
        await asyncio.sleep(_LOOK_SECONDS)
    closing()
    server.should_exit = True
