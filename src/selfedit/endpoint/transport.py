"""One request over the wire: sent again with growing pauses until it is answered, or given up with
the reason.

Sent again: a connection that fails or is cut, a timeout, 408, 409, 425, 429 and every 5xx, and a
body that is no chat completion (three times, then it counts as declined). Not again: a wrong key,
URL or model (nothing else would be answered either), a redirect, and a request that is declined
(only this one is not). A pause that the endpoint asks for (Retry-After) holds for all requests
under way. A reply is bounded in bytes, unpacked, and in time.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from selfedit.config.endpoint import EndpointSettings
from selfedit.endpoint.chat import REFUSED, ChatRequest
from selfedit.errors import Unavailable, UsageError
from selfedit.storage.bounded import Unreadable, json_value

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the second sending, and the most that doubling them leads to."""
PATIENCE = 900.0
"""Seconds an endpoint may ask us to wait; beyond it the run is better started again later."""
_REAL_KEY = 12
"""Letters from which on a key is one, not a placeholder (EMPTY) that may stand in a reply."""
MAX_BYTES = 2**23
"""Of one reply, unpacked."""
WHOLE = 10
"""Times ``timeout`` after which a reply that still comes in is given up."""
ODD = 3
"""Replies with nothing to read in them after which a request counts as declined."""
_SHOWN_CHARACTERS = 2000
_THOUGHTS = ("thinking", "redacted_thinking", "reasoning", "reasoning_text", "thought")
"""Types of a content's parts that are no part of the answer."""
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_AGAIN = frozenset({408, 409, 425, 429})
_DECLINED = frozenset({400, 413, 422})


@dataclass(frozen=True)
class HttpAnswer:
    """What came back for one request."""

    text: str
    finish: str
    tokens_in: int | None
    tokens_out: int | None
    raw: str
    attempts: int
    seconds: float


class _Again(Exception):
    """Worth sending once more, after ``after`` seconds if the endpoint said so; ``raw`` is a reply
    nobody can read.
    """

    def __init__(self, what: str, after: float | None = None, raw: str | None = None) -> None:
        super().__init__(what)
        self.what, self.after, self.raw = what, after, raw


class Transport:
    """Sends requests of one endpoint from any number of threads.

    Args:
        endpoint: its settings.
        first_pause: seconds before the second sending; it doubles from there.

    Raises:
        UsageError: no model is named.
        Unavailable: the package ``openai`` or the key is missing.
    """

    def __init__(self, endpoint: EndpointSettings, first_pause: float = FIRST_PAUSE) -> None:
        self.endpoint, self._first_pause = endpoint, first_pause
        self.stopping = threading.Event()
        self._not_before = 0.0
        if endpoint.model is None:
            raise UsageError(
                "no model is named to ask", where=endpoint.url, fix="set the endpoint's `model`"
            )
        self._key = _key(endpoint)
        self._client = _client(endpoint)

    def send(self, request: ChatRequest) -> HttpAnswer:
        """Send a request until it is answered or declined.

        A reply in which there is nothing to read, again and again, counts as declined: it is this
        one request's.

        Raises:
            Unavailable: the endpoint is not there, does not know us, or failed ``attempts`` times.
        """
        start, odd = time.monotonic(), 0
        body = request.body(self.endpoint)
        last = ""
        for attempt in range(1, self.endpoint.attempts + 1):
            self._wait()
            try:
                return self._once(body, attempt, start)
            except _Again as again:
                last = again.what
                odd += again.raw is not None
                if again.raw is not None and (odd >= ODD or attempt == self.endpoint.attempts):
                    return HttpAnswer(
                        "",
                        REFUSED,
                        None,
                        None,
                        again.raw[:_SHOWN_CHARACTERS],
                        attempt,
                        time.monotonic() - start,
                    )
                if attempt < self.endpoint.attempts:
                    self._pause(again.after, attempt)
        what = (
            f"the endpoint gave no usable reply in {self.endpoint.attempts} attempts; the last:"
            f" {last}"
        )
        raise Unavailable(
            what, where=self.endpoint.url, fix="start the same command again: what came is kept"
        )

    def _once(self, body: dict[str, Any], attempt: int, start: float) -> HttpAnswer:
        try:
            status, headers, data = self._exchange(body)
        except _Again:
            raise
        except (
            Exception
        ) as error:  # of the HTTP library, and whatever a reply's headers make it raise
            raise _Again(
                self._safe(f"{type(error).__name__}: {error} ({error.__cause__})")
            ) from error
        raw = self._safe(data.decode("utf-8", "replace"))
        if status >= 300:
            self._judge_status(status, headers, raw)
            return HttpAnswer(
                "", REFUSED, None, None, raw[:_SHOWN_CHARACTERS], attempt, time.monotonic() - start
            )
        text, finish, tokens_in, tokens_out = read_reply(raw)
        return HttpAnswer(
            text, finish, tokens_in, tokens_out, raw, attempt, time.monotonic() - start
        )

    def _exchange(self, body: dict[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of one reply; redirects are not followed: they would take the
        prompt elsewhere.
        """
        latest = time.monotonic() + WHOLE * self.endpoint.timeout
        url = f"{self.endpoint.url}/chat/completions"
        with self._client.stream(
            "POST", url, json=body, headers=_headers(self.endpoint, self._key)
        ) as response:
            coding = response.headers.get("content-encoding", "identity").strip().lower()
            if coding not in ("identity", "gzip", "x-gzip", ""):
                raise _Again(f"a body packed as {coding[:20]!r}, which was not asked for")
            data = _bounded(response.iter_raw(), latest, packed="gzip" in coding)
            return response.status_code, response.headers, data

    def _judge_status(self, status: int, headers: Mapping[str, str], text: str) -> None:
        """Return for a declined request; else raise what its status means."""
        answer = f"{status}: {text[:300]}"
        if status in _DECLINED:
            return
        if status not in _AGAIN and status < 500:
            fix = (
                "check the endpoint's url, its model, and the key in the variable that key_env"
                " names"
            )
            raise Unavailable(f"the endpoint answers {answer}", where=self.endpoint.url, fix=fix)
        if status == 429 and "insufficient_quota" in text:
            raise Unavailable(
                f"the endpoint answers {answer}", where=self.endpoint.url, fix="top up the account"
            )
        raise _Again(answer, retry_after(headers))

    def _pause(self, retry_after: float | None, attempt: int) -> None:
        if retry_after is not None and retry_after > PATIENCE:
            what = f"the endpoint asks to wait {retry_after:.0f} seconds"
            raise Unavailable(
                what,
                where=self.endpoint.url,
                fix="start the same command again then: what came is kept",
            )
        if retry_after is not None:
            self._not_before = max(self._not_before, time.monotonic() + retry_after)
            return
        longest = min(LONGEST_PAUSE, self._first_pause * 2 ** (attempt - 1))
        self.stopping.wait(
            longest * (0.5 + 0.5 * random.random())
        )  # spread, so that not all come back at once

    def _wait(self) -> None:
        while (left := self._not_before - time.monotonic()) > 0 and not self.stopping.is_set():
            self.stopping.wait(left)
        if self.stopping.is_set():
            raise Unavailable("stopped before it was sent", where=self.endpoint.url)

    def _safe(self, text: str) -> str:
        """The text without the key, which some endpoints repeat in their complaints, escaped
        perhaps.
        """
        if len(self._key) < _REAL_KEY:
            return text
        if "\\u" in text and self._key not in text:
            try:
                plain = json.dumps(json_value(text, finite=False), ensure_ascii=False)
            except Unreadable:
                plain = _ESCAPED.sub(lambda code: chr(int(code[1], 16)), text)
            text = plain if self._key in plain else text
        return text.replace(self._key, "<key>")

    def close(self) -> None:
        """Wake whoever waits, and let connections go."""
        self.stopping.set()
        self._client.close()


def _key(endpoint: EndpointSettings) -> str:
    if endpoint.key_env is None:
        return ""
    key = os.environ.get(endpoint.key_env, "").strip()
    if not key:
        fix = (
            f"export {endpoint.key_env}=..., or set key_env to none for a server that wants no key"
        )
        raise Unavailable(
            f"the environment variable {endpoint.key_env} holds no key", where=endpoint.url, fix=fix
        )
    return key


def _headers(endpoint: EndpointSettings, key: str) -> dict[str, str]:
    """What is said beside the request; an organisation's name goes to OpenAI alone."""
    headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    if urlsplit(endpoint.url).hostname == "api.openai.com":
        named = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
        headers |= {
            name: os.environ[variable]
            for name, variable in named.items()
            if os.environ.get(variable)
        }
    return headers


def _client(endpoint: EndpointSettings) -> Any:
    try:
        import openai
    except ImportError as error:
        what = "asking an endpoint needs the package openai"
        raise Unavailable(what, fix="pip install 'selfedit[endpoint]'") from error
    # Its HTTP client alone: the client above it adds headers from the environment, whatever the
    # host, and reads any complaint to its end.
    return openai.DefaultHttpxClient(timeout=endpoint.timeout, follow_redirects=False)


def _bounded(blocks: Iterable[bytes], latest: float, *, packed: bool) -> bytes:
    """A body's bytes, unpacked; not more than `MAX_BYTES` of them, and none after ``latest``."""
    data, inflate = bytearray(), zlib.decompressobj(wbits=31)
    for block in blocks:
        data += inflate.decompress(block, MAX_BYTES + 1 - len(data)) if packed else block
        if len(data) > MAX_BYTES:
            raise _Again(
                f"a reply of more than {MAX_BYTES:,} bytes", raw=f"(more than {MAX_BYTES} bytes)"
            )
        if time.monotonic() > latest:
            raise _Again("a reply that did not come to its end in time")
    if packed and data and not inflate.eof:
        raise _Again("a reply that was cut short")
    return bytes(data)


def read_reply(raw: str) -> tuple[str, str, int | None, int | None]:
    """Text, finish and token counts of a chat completion's body.

    Raises:
        _Again: there is nothing to read in it.
    """
    try:
        body = json_value(raw.removeprefix("\ufeff"), finite=False)
        choice = body["choices"][0]
        message = choice.get("message") or {}
        text = _reply_text(message.get("content"))
        finish = choice.get("finish_reason") or ""
        usage = body.get("usage") if isinstance(body.get("usage"), dict) else {}
        if text is None and (finish == "content_filter" or message.get("refusal")):
            text, finish = "", REFUSED
        if text is None and finish == "length":
            text = ""  # a reasoning model that never came to its answer
        if not isinstance(text, str) or not isinstance(finish, str):
            raise TypeError("no text in it")
        return (
            text,
            finish,
            _token_count(usage.get("prompt_tokens")),
            _token_count(usage.get("completion_tokens")),
        )
    except (Unreadable, KeyError, IndexError, TypeError, AttributeError) as error:
        what = f"not a chat completion ({type(error).__name__}): {raw[:200]!r}"
        raise _Again(what, raw=raw[:_SHOWN_CHARACTERS]) from error


def _reply_text(content: object) -> str | None:
    """What was said: text, or the texts of its parts that are no thoughts."""
    parts = content if isinstance(content, list) else [content]
    texts = [text for part in parts if (text := _part_text(part)) is not None]
    return "".join(texts) if texts else None


def _part_text(part: object) -> str | None:
    if isinstance(part, dict) and part.get("type") not in _THOUGHTS:
        text = part.get("text")
        part = text.get("value") if isinstance(text, dict) else text
    return part if isinstance(part, str) else None


def _token_count(value: object) -> int | None:
    """A number of tokens that a ledger can hold."""
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
        else None
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds an endpoint asks to wait: Retry-After as a number or a date (RFC 9110, section
    10.2.3), or in ms.
    """
    text = headers.get("retry-after", "").strip()
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        return max(0.0, float(text)) if text else None
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(text)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError, TypeError):
        return None
