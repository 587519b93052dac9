"""A chat endpoint on this machine that behaves badly on purpose: a real HTTP server, with a log of
all it was asked.

``with FakeEndpoint(answer=lambda body: "yes", faults=every_fault) as server: server.url``.
``faults(body, times)`` names what goes wrong the ``times``-th time (from 0) that this body comes:
one of `FAULTS`, or None to answer.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

FAULTS = ("429", "500", "503", "garbage", "html", "no choices", "cut", "cut at once", "slow")

Answer = Callable[[dict[str, Any]], str]
Faults = Callable[[dict[str, Any], int], "str | None"]


class Asked(NamedTuple):
    """One request that came in."""

    body: dict[str, Any]
    key: str
    fault: str | None


def every_fault(body: dict[str, Any], times: int) -> str | None:
    """Each body meets up to three faults, others for another text, before it is answered."""
    start = sum(json.dumps(body["messages"]).encode())
    return FAULTS[(start + times * 4) % len(FAULTS)] if times < start % 4 else None


def last_message(body: dict[str, Any]) -> str:
    return body["messages"][-1]["content"]


class FakeEndpoint:
    """The server; ``asked`` is its log, ``answered`` the requests it gave a whole reply to."""

    def __init__(
        self, answer: Answer = lambda _: "yes", faults: Faults = lambda *_: None, delay: float = 0.0
    ) -> None:
        self.answer, self.faults, self.delay = answer, faults, delay
        self.asked: list[Asked] = []
        self._times: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    @property
    def answered(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.fault in (None, "slow")]

    def __enter__(self) -> FakeEndpoint:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, body: dict[str, Any], key: str) -> str | None:
        """Log a request; says what shall go wrong with it."""
        with self._lock:
            name = json.dumps(body, sort_keys=True)
            fault = self.faults(body, self._times[name])
            self._times[name] += 1
            self.asked.append(Asked(body, key, fault))
        return fault


def completion(text: str, body: dict[str, Any]) -> dict[str, Any]:
    """A chat completion; tokens are counted as letters, so that a test can count them too."""
    return {
        "id": "x",
        "object": "chat.completion",
        "model": body["model"],
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        ],
        "usage": {
            "prompt_tokens": sum(len(message["content"]) for message in body["messages"]),
            "completion_tokens": len(text),
        },
    }


def _handler(server: FakeEndpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fault = server.take(body, self.headers.get("Authorization", ""))
            time.sleep(server.delay)
            whole = json.dumps(completion(server.answer(body), body)).encode()
            if self.path != "/v1/chat/completions":
                self._reply(404, b"{}")
            elif fault == "429":
                self._reply(429, b'{"error": {"message": "slow down"}}', {"Retry-After": "0.05"})
            elif fault and fault.isdigit():
                self._reply(
                    int(fault),
                    b'{"error": {"message": "%s", "key": "%s"}}' % (fault.encode(), self._key()),
                )
            elif fault in ("garbage", "html", "no choices"):
                self._reply(
                    200,
                    {"garbage": whole[:30], "html": b"<html>", "no choices": b'{"choices": []}'}[
                        fault
                    ],
                )
            elif fault == "cut":
                self._reply(200, whole[:40], {"Content-Length": str(len(whole))})
            elif fault != "cut at once":
                time.sleep(0.3 if fault == "slow" else 0)
                self._reply(200, whole)
            self.close_connection = fault is not None

        def _key(self) -> bytes:
            return self.headers.get("Authorization", "").encode()

        def _reply(
            self, status: int, content: bytes, headers: dict[str, str] | None = None
        ) -> None:
            self.send_response(status)
            given = {"Content-Type": "application/json", "Content-Length": str(len(content))} | (
                headers or {}
            )
            for name, value in given.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
