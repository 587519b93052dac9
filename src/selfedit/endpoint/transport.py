"""One request over the wire: sent again with growing pauses until it is answered, or given up with
the reason.

Sent again: a connection that fails or is cut, a timeout, 408, 409, 425, 429 and every 5xx, and a
body that is no chat completion (three times, then it counts as declined). Not again: a wrong key,
URL or model (nothing else would be answered either), a redirect, and a request that is declined
(only this one is not). A pause that the endpoint asks for (Retry-After) holds for all requests
under way. A reply is bounded in bytes, unpacked, and in time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from selfedit.config.endpoint import EndpointSettings
from selfedit.endpoint.chat import REFUSED, ChatRequest
from selfedit.endpoint.http import AGAIN, FIRST_PAUSE, Http
from selfedit.endpoint.reply import Again, retry_after
from selfedit.errors import Unavailable, UsageError
from selfedit.storage.bounded import Unreadable, json_value

ODD = 3
"""Replies with nothing to read in them after which a request counts as declined."""
_SHOWN_CHARACTERS = 2000
_ANSWERS = (None, "text", "output_text")
"""Types of a content's parts that are said; the others are thoughts, under whatever name."""
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


class Transport(Http):
    """Sends requests of one endpoint from any number of threads.

    Args:
        endpoint: its settings.
        first_pause: seconds before the second sending; it doubles from there.

    Raises:
        UsageError: no model is named.
        Unavailable: the package ``openai`` or the key is missing.
    """

    def __init__(self, endpoint: EndpointSettings, first_pause: float = FIRST_PAUSE) -> None:
        self.endpoint = endpoint
        if endpoint.model is None:
            raise UsageError(
                "no model is named to ask", where=endpoint.url, fix="set the endpoint's `model`"
            )
        super().__init__(endpoint, first_pause)

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
            self.wait()
            try:
                return self._once(body, attempt, start)
            except Again as again:
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
                    self.pause(again.after, attempt)
        what = (
            f"the endpoint gave no usable reply in {self.endpoint.attempts} attempts; the last:"
            f" {last}"
        )
        raise Unavailable(
            what, where=self.endpoint.url, fix="start the same command again: what came is kept"
        )

    def _once(self, body: dict[str, Any], attempt: int, start: float) -> HttpAnswer:
        status, headers, raw = self.exchange("chat/completions", body)
        if status >= 300:
            self._judge_status(status, headers, raw)
            return HttpAnswer(
                "", REFUSED, None, None, raw[:_SHOWN_CHARACTERS], attempt, time.monotonic() - start
            )
        text, finish, tokens_in, tokens_out = read_reply(raw)
        return HttpAnswer(
            text, finish, tokens_in, tokens_out, raw, attempt, time.monotonic() - start
        )

    def _judge_status(self, status: int, headers: Mapping[str, str], text: str) -> None:
        """Return for a declined request; else raise what its status means."""
        answer = f"{status}: {text[:300]}"
        if status in _DECLINED:
            return
        if status not in AGAIN and status < 500:
            fix = (
                "check the endpoint's url, its model, and the key in the variable that key_env"
                " names"
            )
            raise Unavailable(f"the endpoint answers {answer}", where=self.endpoint.url, fix=fix)
        if status == 429 and "insufficient_quota" in text:
            raise Unavailable(
                f"the endpoint answers {answer}", where=self.endpoint.url, fix="top up the account"
            )
        raise Again(answer, retry_after(headers))


def read_reply(raw: str) -> tuple[str, str, int | None, int | None]:
    """Text, finish and token counts of a chat completion's body.

    Raises:
        Again: there is nothing to read in it.
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
        raise Again(what, raw=raw[:_SHOWN_CHARACTERS]) from error


def _reply_text(content: object) -> str | None:
    """What was said: text, or the texts of its parts that are no thoughts."""
    parts = content if isinstance(content, list) else [content]
    texts = [text for part in parts if (text := _part_text(part)) is not None]
    return "".join(texts) if texts else None


def _part_text(part: object) -> str | None:
    if isinstance(part, dict) and part.get("type") in _ANSWERS and not part.get("thought"):
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
