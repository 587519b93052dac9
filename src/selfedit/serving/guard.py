"""Who may ask: the name a client calls the server by, and the token it has to know."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Collection, Sequence

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from selfedit.errors import SelfEditError
from selfedit.serving.failures import Failure, failure_of

_OPEN = ("/healthz",)
"""For what watches over a server."""


def reply_failure(failure: Failure) -> Response:
    """A failure as a reply."""
    headers = {} if failure.again is None else {"retry-after": str(failure.again)}
    if failure.status in (408, 413):  # the rest of the body is not waited for
        headers["connection"] = "close"
    return JSONResponse(failure.body, failure.status, headers=headers)


HANDLERS = {
    404: lambda request, error: reply_failure(Failure(404, "there is nothing under this path")),
    405: lambda request, error: reply_failure(Failure(405, "this path takes another method")),
    Failure: lambda request, error: reply_failure(error),
    SelfEditError: lambda request, error: reply_failure(failure_of(error)),
    Exception: lambda request, error: reply_failure(failure_of(error)),  # and it is logged
}
"""How an application answers what it cannot do."""


class AccessGuard:
    """An application behind a door.

    A web page whose name was made to resolve to this machine (DNS rebinding) comes with its own
    name in ``Host``, so only addresses and known names are let in.

    Args:
        app: what is behind it.
        token: what clients have to send as ``Authorization: Bearer``; None for none.
        hosts: names besides addresses and ``localhost``.
        open_paths: need no token, for they say nothing of what is served.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str | None,
        hosts: Sequence[str],
        open_paths: Collection[str] = _OPEN,
    ) -> None:
        self._app, self._open = app, open_paths
        # A digest, so that comparing takes the same time whatever was sent.
        self._digest = None if token is None else _hashed(token)
        self._hosts = frozenset(host.lower() for host in hosts) | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and (failure := self._refused(scope)) is not None:
            # The body stays unread, so the connection is of no more use.
            headers = {"connection": "close"}
            if failure.status == 401:
                headers["www-authenticate"] = "Bearer"
            reply = JSONResponse(failure.body, failure.status, headers=headers)
            await reply(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refused(self, scope: Scope) -> Failure | None:
        headers = Headers(scope=scope)
        if not self._knows(headers.getlist("host")):
            what = "this server does not go by that name: start it with --allow-host NAME"
            return Failure(403, what, code="unknown_host")
        if self._digest is None or scope["path"] in self._open:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(_hashed(token), self._digest):
            return None
        return Failure(401, "this server wants its token as the API key", code="invalid_api_key")

    def _knows(self, hosts: Sequence[str]) -> bool:
        if len(hosts) != 1:
            return False
        host = host_name(hosts[0])
        return host in self._hosts or is_address(host)


def host_name(host: str) -> str:
    """The name or address of a ``Host`` header, without port and brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def is_address(host: str) -> bool:
    """Whether this is an IP address: none can be rebound."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
