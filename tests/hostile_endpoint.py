"""A chat endpoint that answers most requests and does one odd thing with those that hold the word
``odd``.

`BEHAVIOURS` is the table: what it does, and what the client makes of it (``declined``: that one
reply is counted as declined; ``answered``: it is read after all as "yes"; ``read``: its text is taken
as it stands; ``ended``: the run ends with a message, everything else is kept).
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from fake_endpoint import completion

DEEP = "[" * 5000 + "]" * 5000


class Behaviour(NamedTuple):
    """What is sent, and what becomes of it."""

    send: Callable[[Any, dict[str, Any]], None]
    outcome: str


def body(
    content: bytes | str, status: int = 200, **headers: str
) -> Callable[[Any, dict[str, Any]], None]:
    data = content.encode() if isinstance(content, str) else content
    return lambda handler, _: handler.send(status, data, headers)


def message(**values: Any) -> Callable[[Any, dict[str, Any]], None]:
    def send(handler: Any, asked: dict[str, Any]) -> None:
        whole = completion("yes", asked)
        whole["choices"][0].update(values)
        handler.send(200, json.dumps(whole).encode(), {})

    return send


def endless(block: bytes, pause: float = 0.0) -> Callable[[Any, dict[str, Any]], None]:
    def send(handler: Any, _: dict[str, Any]) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
            time.sleep(pause)

    return send


def raw(first: bytes, again: bytes = b"") -> Callable[[Any, dict[str, Any]], None]:
    """Bytes that are no reply of ours; the second part for as long as somebody listens."""

    def send(handler: Any, _: dict[str, Any]) -> None:
        handler.wfile.write(first)
        while again:
            handler.wfile.write(again)

    return send


def usage(**counts: Any) -> Callable[[Any, dict[str, Any]], None]:
    return lambda handler, asked: handler.send(
        200, json.dumps(completion("yes", asked) | {"usage": counts}).encode(), {}
    )


def bomb() -> bytes:
    return gzip.compress(b'{"choices": [' + b" " * 2**26 + b"]}")


BEHAVIOURS = {
    "nested": Behaviour(body(DEEP), "declined"),
    "a list": Behaviour(body("[]"), "declined"),
    "a number": Behaviour(body("1" * 400), "declined"),
    "no choices": Behaviour(body('{"choices": []}'), "declined"),
    "choices null": Behaviour(body('{"choices": null}'), "declined"),
    "choices of text": Behaviour(body('{"choices": "yes"}'), "declined"),
    "message null": Behaviour(message(message=None), "declined"),
    "content null": Behaviour(message(message={"content": None}), "declined"),
    "content a number": Behaviour(message(message={"content": 5}), "declined"),
    "content of no text": Behaviour(message(message={"content": [{"type": "image"}]}), "declined"),
    "content in parts": Behaviour(
        message(message={"content": [{"type": "text", "text": "y"}, {"type": "text", "text": "es"}]}), "answered"
    ),
    "content a part": Behaviour(message(message={"content": {"type": "text", "text": "yes"}}), "answered"),
    "content in plain parts": Behaviour(message(message={"content": ["y", "es"]}), "answered"),
    "content in parts with values": Behaviour(
        message(message={"content": [{"type": "text", "text": {"value": "yes", "annotations": []}}]}), "answered"
    ),
    "content with a thought beside": Behaviour(
        message(
            message={
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "no"}]},
                    {"type": "reasoning", "text": "no"},
                    {"type": "text", "text": "yes"},
                ]
            }
        ),
        "answered",
    ),
    "content with thoughts by other names": Behaviour(
        message(
            message={
                "content": [
                    {"type": "summary_text", "text": "no. "},
                    {"type": "analysis", "text": "no. "},
                    {"text": "no. ", "thought": True},
                    {"type": "output_text", "text": "yes"},
                ]
            }
        ),
        "answered",
    ),
    "content of thoughts alone": Behaviour(
        message(message={"content": [{"type": "reasoning", "text": "no"}]}), "declined"
    ),
    "a thought beside no content": Behaviour(
        message(message={"content": None, "reasoning_content": "yes"}), "declined"
    ),
    "a choice null": Behaviour(body('{"choices": [null]}'), "declined"),
    "null": Behaviour(body("null"), "declined"),
    "finish a list": Behaviour(message(finish_reason=["stop"]), "declined"),
    "no bytes": Behaviour(body(b""), "declined"),
    "no text": Behaviour(body(b"\xff\xfe\x00"), "declined"),
    "a strange charset": Behaviour(
        lambda handler, asked: handler.send(
            200, json.dumps(completion("yes", asked)).encode(), {"Content-Type": "application/json; charset=bocu-1"}
        ),
        "answered",
    ),
    "huge counts": Behaviour(usage(prompt_tokens=10**30, completion_tokens=2**63), "answered"),
    "counts of other types": Behaviour(usage(prompt_tokens=[], completion_tokens="x"), "answered"),
    "a gzip bomb": Behaviour(body(bomb(), **{"Content-Encoding": "gzip"}), "declined"),
    "a packed reply": Behaviour(
        lambda handler, asked: handler.send(
            200, gzip.compress(json.dumps(completion("yes", asked)).encode()), {"Content-Encoding": "gzip"}
        ),
        "answered",
    ),
    "no gzip": Behaviour(body(b"no gzip", **{"Content-Encoding": "gzip"}), "ended"),
    "packed otherwise": Behaviour(body(b"x", **{"Content-Encoding": "br"}), "ended"),
    "endless": Behaviour(endless(b"x" * 2**16), "declined"),
    "a drip": Behaviour(endless(b" ", 0.05), "ended"),
    "a far date": Behaviour(body("{}", 503, **{"Retry-After": "Wed, 21 Oct 99999999999 07:28:00 GMT"}), "ended"),
    "a date of another zone": Behaviour(body("{}", 503, **{"Retry-After": "Wed, 21 Oct 2015 07:28:00 -9999"}), "ended"),
    "no seconds": Behaviour(body("{}", 503, **{"Retry-After": "nan"}), "ended"),
    "a gzip file cut short": Behaviour(body(gzip.compress(b"x" * 999)[:20], **{"Content-Encoding": "gzip"}), "ended"),
    "a large body": Behaviour(
        lambda handler, _: handler.send(200, b'{"choices": [' + b" " * 2**25, {"Content-Length": str(400 * 2**20)}),
        "declined",
    ),
    "half a body": Behaviour(body(b'{"choices": [', **{"Content-Length": "9999"}), "ended"),
    "nothing at all": Behaviour(raw(b""), "ended"),
    "no HTTP": Behaviour(raw(b"yes\r\n\r\n"), "ended"),
    "endless headers": Behaviour(raw(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"x" * 999 + b"\r\n"), "ended"),
    "a page": Behaviour(body("<html><script>alert(1)</script>", **{"Content-Type": "text/html"}), "declined"),
    "half a character": Behaviour(message(message={"content": "yes\ud800"}), "read"),
    "escapes and zeros": Behaviour(message(message={"content": "\x1b]0;PWNED\x07yes\0"}), "read"),
    "an empty answer": Behaviour(message(message={"content": ""}), "read"),
    "a thought alone": Behaviour(message(message={"content": "<think>yes"}), "read"),
    "usage null": Behaviour(
        lambda handler, asked: handler.send(200, json.dumps(completion("yes", asked) | {"usage": None}).encode(), {}),
        "answered",
    ),
    "a number as finish": Behaviour(message(finish_reason=5), "declined"),
    "an error in an error": Behaviour(body(DEEP, 500), "ended"),
    "a refusal with escapes": Behaviour(body('{"error": {"message": "\\u001b[31mno"}}', 400), "declined"),
    "a status of none": Behaviour(body("{}", 299), "declined"),
    "a redirect to itself": Behaviour(body("", 308, **{"Location": "/v1/chat/completions"}), "ended"),
    "a redirect": Behaviour(body("", 307, **{"Location": "http://127.0.0.1:9/elsewhere"}), "ended"),
}  # fmt: skip


class HostileEndpoint:
    """The server; ``seen`` holds the headers of every request."""

    def __init__(self, behaviour: Callable[[Any, dict[str, Any]], None]) -> None:
        self.seen: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, behaviour))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> HostileEndpoint:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(
    server: HostileEndpoint, behaviour: Callable[[Any, dict[str, Any]], None]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.seen.append(dict(self.headers))
            self.close_connection = True
            try:
                if "odd" in asked["messages"][-1]["content"]:
                    behaviour(self, asked)
                else:
                    self.send(200, json.dumps(completion("yes", asked)).encode(), {})
            except OSError:
                pass  # the client has gone

        def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
