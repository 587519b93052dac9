"""The endpoint on a socket."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from selfedit.serving.endpoint import application
from selfedit.serving.http_server import WebServer, http_server, run_server
from selfedit.serving.service import Service

_LAST_SECONDS = 5.0


def web_server(
    service: Service, *, token: str | None = None, hosts: Sequence[str] = ()
) -> WebServer:
    """A server of a service's endpoint; `answer_requests` runs it."""
    return http_server(
        application(service, token=token, hosts=hosts), service.limits.max_connections
    )


def answer_requests(
    server: WebServer,
    service: Service,
    bound: socket.socket,
    stopped: Callable[[], bool],
    started: Callable[[], None] = lambda: None,
) -> bool:
    """Answer until ``stopped`` says so (see `run_server`), the service's scheduler running.

    Returns:
        Whether everything that ran has ended.
    """
    service.scheduler.start()
    try:
        run_server(server, bound, stopped, started, service.scheduler.stop)
    finally:
        service.scheduler.stop()
        # What was cut off has been given up by now: it ends with the token in hand.
        ended = service.scheduler.join(_LAST_SECONDS)
    return ended
