"""What the page is sent: JSON whose texts are harmless, and headers that let it load no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from selfedit.storage.files import canonical_json
from selfedit.storage.neutral import in_lines

# Trusted types: the page's own script cannot turn a text into markup either, in browsers that know
# them.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for"
    " 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Headed:
    """An application whose every reply has the page's headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""

        async def send_headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Ours stand, whatever a reply of the guard or of an endpoint says.
                replaced = [pair for pair in message["headers"] if pair[0].decode() not in _HEADERS]
                ours = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*replaced, *ours]}
            await send(message)

        await self._app(scope, receive, send_headed)


def reply(value: object) -> Response:
    """A value as JSON, every text in it without what could steer a page or a terminal."""
    return Response(json_bytes(value), media_type="application/json")


def json_bytes(value: object) -> bytes:
    """The JSON of `reply`, on one line."""
    return canonical_json(_harmless(value), indent=None)


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return in_lines(value)
    # Keys too: a method or a context is named by whoever made it.
    if isinstance(value, Mapping):
        return {in_lines(name): _harmless(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(one) for one in value]
    return value
