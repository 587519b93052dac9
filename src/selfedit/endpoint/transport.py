"""One request over the wire: sent again with growing pauses until it is answered, or given up with the reason.

Sent again: a connection that fails or is cut, a timeout, 408, 409, 425, 429 and every 5xx, and a body that is no chat
completion. Not again: a wrong key, URL or model (nothing else would be answered either), and a request that is declined
(only this one is not). A pause that the endpoint asks for (Retry-After) holds for all requests under way.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from selfedit.config.endpoint import EndpointSettings
from selfedit.endpoint.chat import REFUSED, ChatRequest
from selfedit.errors import Unavailable, UsageError

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the second sending, and the most that doubling them leads to."""
PATIENCE = 900.0
"""Seconds an endpoint may ask us to wait; beyond it the run is better started again later."""
_REAL_KEY = 12
"""Letters from which on a key is one, not a placeholder like EMPTY that may well stand in a reply."""
_AGAIN = frozenset({408, 409, 425, 429})
_DECLINED = frozenset({400, 413, 422})


@dataclass(frozen=True)
class Answer:
    """What came back for one request."""

    text: str
    finish: str
    tokens_in: int | None
    tokens_out: int | None
    raw: str
    attempts: int
    seconds: float


class _Again(Exception):
    """Worth sending once more, after ``after`` seconds if the endpoint said so."""

    def __init__(self, what: str, after: float | None = None) -> None:
        super().__init__(what)
        self.what, self.after = what, after


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
            raise UsageError("no model is named to ask", where=endpoint.url, fix="set the endpoint's `model`")
        self._key = _key(endpoint)
        self._client = _client(endpoint, self._key)

    def send(self, request: ChatRequest) -> Answer:
        """Send a request until it is answered or declined.

        Raises:
            Unavailable: the endpoint is not there, does not know us, or failed ``attempts`` times.
        """
        start = time.monotonic()
        body = request.body(self.endpoint)
        last = ""
        for attempt in range(1, self.endpoint.attempts + 1):
            self._wait()
            try:
                return self._once(body, attempt, start)
            except _Again as again:
                last = again.what
                if attempt < self.endpoint.attempts:
                    self._pause(again.after, attempt)
        what = f"the endpoint gave no usable reply in {self.endpoint.attempts} attempts; the last: {last}"
        raise Unavailable(what, where=self.endpoint.url, fix="start the same command again: what came is kept")

    def _once(self, body: dict[str, Any], attempt: int, start: float) -> Answer:
        import openai

        try:
            response = self._client.chat.completions.with_raw_response.create(**body)
        except openai.APIStatusError as error:
            text = self._safe(error.response.text)
            self._judge_status(error.status_code, error.response.headers, text)
            return Answer("", REFUSED, None, None, text, attempt, time.monotonic() - start)
        except openai.APIConnectionError as error:
            raise _Again(self._safe(f"{error} ({error.__cause__})")) from error
        raw = self._safe(response.text) if len(self._key) >= _REAL_KEY else response.text
        text, finish, tokens_in, tokens_out = _read(raw)
        return Answer(text, finish, tokens_in, tokens_out, raw, attempt, time.monotonic() - start)

    def _judge_status(self, status: int, headers: Mapping[str, str], text: str) -> None:
        """Return for a declined request; else raise what its status means."""
        said = f"{status}: {text[:300]}"
        if status in _DECLINED:
            return
        if status not in _AGAIN and status < 500:
            fix = "check the endpoint's url, its model, and the key in the variable that key_env names"
            raise Unavailable(f"the endpoint answers {said}", where=self.endpoint.url, fix=fix)
        if status == 429 and "insufficient_quota" in text:
            raise Unavailable(f"the endpoint answers {said}", where=self.endpoint.url, fix="top up the account")
        raise _Again(said, retry_after(headers))

    def _pause(self, asked: float | None, attempt: int) -> None:
        if asked is not None and asked > PATIENCE:
            what = f"the endpoint asks to wait {asked:.0f} seconds"
            raise Unavailable(what, where=self.endpoint.url, fix="start the same command again then: what came is kept")
        if asked is not None:
            self._not_before = max(self._not_before, time.monotonic() + asked)
            return
        longest = min(LONGEST_PAUSE, self._first_pause * 2 ** (attempt - 1))
        self.stopping.wait(longest * (0.5 + 0.5 * random.random()))  # spread, so that not all come back at once

    def _wait(self) -> None:
        while (left := self._not_before - time.monotonic()) > 0 and not self.stopping.is_set():
            self.stopping.wait(left)
        if self.stopping.is_set():
            raise Unavailable("stopped before it was sent", where=self.endpoint.url)

    def _safe(self, text: str) -> str:
        """The text without the key, which some endpoints repeat in their complaints."""
        return text.replace(self._key, "<key>") if self._key else text

    def close(self) -> None:
        """Wake whoever waits, and let connections go."""
        self.stopping.set()
        self._client.close()


def _key(endpoint: EndpointSettings) -> str:
    if endpoint.key_env is None:
        return ""
    key = os.environ.get(endpoint.key_env, "").strip()
    if not key:
        fix = f"export {endpoint.key_env}=..., or set key_env to none for a server that wants no key"
        raise Unavailable(f"the environment variable {endpoint.key_env} holds no key", where=endpoint.url, fix=fix)
    return key


def _client(endpoint: EndpointSettings, key: str) -> Any:
    try:
        import openai
    except ImportError as error:
        what = "asking an endpoint needs the package openai"
        raise Unavailable(what, fix="pip install 'selfedit[endpoint]'") from error
    return openai.OpenAI(api_key=key or "none", base_url=endpoint.url, timeout=endpoint.timeout, max_retries=0)


def _read(raw: str) -> tuple[str, str, int | None, int | None]:
    """Text, finish and token counts of a chat completion's body."""
    try:
        body = json.loads(raw)
        choice = body["choices"][0]
        text = choice["message"].get("content")
        finish = choice.get("finish_reason") or ""
        usage = body.get("usage") or {}
        if finish == "content_filter" and text is None:
            text, finish = "", REFUSED
        if text is None and choice["message"].get("refusal"):
            text, finish = "", REFUSED
        if text is None and finish == "length":
            text = ""  # a reasoning model that never came to its answer
        if not isinstance(text, str) or not isinstance(finish, str):
            raise TypeError("no text in it")
        return text, finish, _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise _Again(f"not a chat completion ({type(error).__name__}): {raw[:200]!r}") from error


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds an endpoint asks to wait: Retry-After as a number or a date (RFC 9110, section 10.2.3), or in ms."""
    text = headers.get("retry-after", "").strip()
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        return max(0.0, float(text)) if text else None
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
