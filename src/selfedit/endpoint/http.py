"""One exchange over the wire with a server that speaks OpenAI's protocol, and the pauses between
several: bounded in bytes, unpacked, and in time; the key out of whatever is shown.

A pause that the server asks for (Retry-After) holds for all requests under way.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from selfedit.config.endpoint import ServerSettings
from selfedit.endpoint.reply import Again, bounded
from selfedit.errors import Unavailable
from selfedit.storage.bounded import Unreadable, json_value

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the second sending, and the most that doubling them leads to."""
PATIENCE = 900.0
"""Seconds an endpoint may ask us to wait; beyond it the run is better started again later."""
_REAL_KEY = 12
"""Letters from which on a key is one, not a placeholder (EMPTY) that may stand in a reply."""
WHOLE = 10
"""Times ``timeout`` after which a reply that still comes in is given up."""
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
AGAIN = frozenset({408, 409, 425, 429})
"""Statuses below 500 after which a request is sent again."""


class Http:
    """Sends to one server from any number of threads.

    Args:
        settings: where, with which key, how patiently.
        first_pause: seconds before the second sending; it doubles from there.

    Raises:
        Unavailable: the package ``openai`` or the key is missing.
    """

    def __init__(self, settings: ServerSettings, first_pause: float = FIRST_PAUSE) -> None:
        self.settings, self._first_pause = settings, first_pause
        self.stopping = threading.Event()
        self._not_before = 0.0
        self._key = _key(settings)
        self._client: Any = _client(settings)

    def exchange(
        self, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, Mapping[str, str], str]:
        """Status, headers and body of one reply to a POST, or to a GET where there is no body.

        Raises:
            Again: there was no whole reply.
        """
        try:
            status, headers, data = self._exchange(f"{self.settings.url}/{path}", body)
        except Again:
            raise
        except (
            Exception
        ) as error:  # of the HTTP library, and whatever a reply's headers make it raise
            raise Again(
                self._safe(f"{type(error).__name__}: {error} ({error.__cause__})")
            ) from error
        return status, headers, self._safe(data.decode("utf-8", "replace"))

    def _exchange(
        self, url: str, body: Mapping[str, Any] | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The same in bytes; redirects are not followed: they would take the prompt elsewhere."""
        latest = time.monotonic() + WHOLE * self.settings.timeout
        method, headers = "GET" if body is None else "POST", _headers(self.settings, self._key)
        with self._client.stream(method, url, json=body, headers=headers) as response:
            coding = response.headers.get("content-encoding", "identity").strip().lower()
            if coding not in ("identity", "gzip", "x-gzip", ""):
                raise Again(f"a body packed as {coding[:20]!r}, which was not asked for")
            data = bounded(response.iter_raw(), latest, packed="gzip" in coding)
            return response.status_code, response.headers, data

    def pause(self, retry_after: float | None, attempt: int) -> None:
        """Wait before a request is sent again, after its ``attempt``-th sending.

        Raises:
            Unavailable: the server asks for more than `PATIENCE`.
        """
        if retry_after is not None and retry_after > PATIENCE:
            what = f"the endpoint asks to wait {retry_after:.0f} seconds"
            raise Unavailable(
                what,
                where=self.settings.url,
                fix="start the same command again then: what came is kept",
            )
        if retry_after is not None:
            self._not_before = max(self._not_before, time.monotonic() + retry_after)
            return
        longest = min(LONGEST_PAUSE, self._first_pause * 2 ** (attempt - 1))
        self.stopping.wait(
            longest * (0.5 + 0.5 * random.random())
        )  # spread, so that not all come back at once

    def wait(self) -> None:
        """Wait until something may be sent.

        Raises:
            Unavailable: nothing is sent any more.
        """
        while (left := self._not_before - time.monotonic()) > 0 and not self.stopping.is_set():
            self.stopping.wait(left)
        if self.stopping.is_set():
            raise Unavailable("stopped before it was sent", where=self.settings.url)

    def _safe(self, text: str) -> str:
        """The text without the key, which some endpoints repeat in complaints, escaped or not."""
        if len(self._key) < _REAL_KEY:
            return text
        if "\\u" in text and self._key not in text:
            try:
                plain = json.dumps(json_value(text, finite=False), ensure_ascii=False)
            except Unreadable:
                plain = _ESCAPED.sub(lambda code: chr(int(code[1], 16)), text)
            text = plain if self._key in plain else text
        return text.replace(self._key, "<key>")

    def rest(self) -> None:
        """Let connections go that nobody uses; the next request opens others."""
        self._client.close()
        self._client = _client(self.settings)

    def close(self) -> None:
        """Wake whoever waits, and let connections go."""
        self.stopping.set()
        self._client.close()


def _key(settings: ServerSettings) -> str:
    if settings.key_env is None:
        return ""
    key = os.environ.get(settings.key_env, "").strip()
    if not key:
        fix = (
            f"export {settings.key_env}=..., or set key_env to none for a server that wants no key"
        )
        raise Unavailable(
            f"the environment variable {settings.key_env} holds no key", where=settings.url, fix=fix
        )
    return key


def _headers(settings: ServerSettings, key: str) -> dict[str, str]:
    """What is said beside the request; an organisation's name goes to OpenAI alone."""
    headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    if urlsplit(settings.url).hostname == "api.openai.com":
        named = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
        headers |= {
            name: os.environ[variable]
            for name, variable in named.items()
            if os.environ.get(variable)
        }
    return headers


def _client(settings: ServerSettings) -> Any:
    try:
        import openai
    except ImportError as error:
        what = "asking an endpoint needs the package openai"
        raise Unavailable(what, fix="pip install 'selfedit[endpoint]'") from error
    # Its HTTP client alone: the client above it adds headers from the environment, whatever the
    # host, and reads any complaint to its end.
    return openai.DefaultHttpxClient(timeout=settings.timeout, follow_redirects=False)
