"""Nobody can ask for more than there is, and what nobody vouches for is refused, never a traceback."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from selfedit.lm.live import LiveDecoder
from selfedit.serving import endpoint, http_server
from selfedit.serving.limits import Limits
from small_server import running, shelf_of

pytestmark = pytest.mark.server

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
JSON = {"content-type": "application/json"}


def send(
    address: str, body: object = None, path: str = CHAT, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, JSON and headers of one request."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(
        "GET" if body is None else "POST", path, None if body is None else data,
        JSON if headers is None else headers,
    )  # fmt: skip
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply.status, json.loads(text), {k.lower(): v for k, v in reply.getheaders()}


def failure(address: str, body: object, *more: Any) -> tuple[int, str]:
    """Status and message; it is in OpenAI's form."""
    status, reply, _ = send(address, body, *more)
    error = reply["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert "Traceback" not in error["message"] and len(error["message"]) <= 500
    return status, error["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe\xfd", "not valid UTF-16"),
        (b"[" * 100_000, "nested more than 64 deep"),
        (b'{"messages": ' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}", "nested more than 64 deep"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "more than 300 digits"),
        (b'{"temperature": 1e999}', "too large"),
        (b'{"temperature": NaN}', "NaN"),
        (b"[]", "JSON object"),
        (b'"text"', "JSON object"),
        (b"{}", "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "user"}, {"role": "assistant", "content": "x"}]}, "last message"),
        ({"messages": [{"role": "root", "content": "Hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0"),
        (HELLO | {"temperature": 3}, "temperature"),
        (HELLO | {"temperature": "1"}, "temperature"),
        (HELLO | {"top_p": 0}, "top_p"),
        (HELLO | {"max_tokens": 0}, "max_tokens"),
        (HELLO | {"max_tokens": 10**40}, "max_tokens"),
        (HELLO | {"n": 17}, "n"),
        (HELLO | {"stop": ["a"] * 5}, "stop"),
        (HELLO | {"stop": ""}, "stop"),
        (HELLO | {"seed": 2**63}, "seed"),
        (HELLO | {"stream": "yes"}, "stream"),
        (HELLO | {"tools": [{"type": "function"}]}, "tools is not supported"),
        (HELLO | {"logit_bias": {"5": 1}}, "logit_bias is not supported"),
        (HELLO | {"response_format": {"type": "json_object"}}, "response_format is not supported"),
        (HELLO | {"presence_penalty": 0.5}, "presence_penalty is not supported"),
        (HELLO | {"guided\u001b[31m": 1}, "is not a field that is known here"),
        (HELLO | {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"messages": [{"role": "user", "content": "Hi " * 9000}]}, "the model's context is 2048"),
    ],
)  # fmt: skip
def test_a_bad_body_is_a_400_that_says_why(served, body: object, words: str) -> None:
    status, message = failure(served[0], body)
    assert status == 400 and words in message and "\u001b" not in message


@pytest.mark.parametrize("prompt", [[], [[]], [True], [1.5], [-1], {"a": 1}, 5, ["a", 1]])
def test_odd_prompts_of_completions(served, prompt: object) -> None:
    assert failure(served[0], {"prompt": prompt, "max_tokens": 2}, "/v1/completions")[0] == 400


def test_fields_that_ask_for_nothing_are_let_through(served) -> None:
    fields = {"user": "me", "presence_penalty": 0, "tools": [], "seed": None, "logit_bias": {}}
    half = {"messages": [{"role": "user", "content": "half \ud800 a pair"}]}
    assert send(served[0], HELLO | fields)[0] == 200
    assert send(served[0], half | {"max_tokens": 1})[0] == 200


def test_control_tokens_in_a_message_are_text(served, lm) -> None:
    """A message cannot close its own turn: it is longer by the spelt-out tokens."""
    counts = [
        send(served[0], {"messages": [{"role": "user", "content": text}], "max_tokens": 1})[1]
        for text in ("Hi", "Hi<|im_end|>")
    ]
    plain, spelt = (reply["usage"]["prompt_tokens"] for reply in counts)
    assert spelt - plain == len(lm.encode_more("Hi<|im_end|>")) - len(lm.encode_more("Hi")) > 1


def test_paths_methods_and_kinds_of_content(served) -> None:
    assert failure(served[0], HELLO, "/v1/embeddings")[0] == 404
    assert failure(served[0], None, CHAT)[0] == 405
    assert failure(served[0], HELLO, CHAT, {"content-type": "text/plain"})[0] == 415
    assert send(served[0], path="/healthz")[1] == {"status": "ok", "running": 0, "waiting": 0}


def test_only_known_names_of_this_machine(served) -> None:
    port = urlsplit(served[0]).port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.x"):
        status, reply, headers = send(served[0], None, "/v1/models", {"host": host})
        assert status == 403 and reply["error"]["code"] == "unknown_host"
        assert "access-control-allow-origin" not in headers
    for host in ("localhost", f"LOCALHOST:{port}", "127.0.0.1", f"[::1]:{port}"):
        assert send(served[0], None, "/v1/models", {"host": host})[0] == 200


def test_the_token_is_wanted_and_not_told(lm, adapters, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    token = "correct-horse-battery"
    with running(shelf_of(lm, adapters), token=token) as (address, _):
        for sent in (None, "Bearer", "Bearer wrong", f"Basic {token}", f"Bearer {token}x", token):
            headers = JSON | ({} if sent is None else {"authorization": sent})
            status, reply, headers = send(address, HELLO, CHAT, headers)
            assert status == 401 and headers["www-authenticate"] == "Bearer"
            assert token not in json.dumps(reply)
        right = JSON | {"authorization": f"Bearer {token}"}
        assert send(address, HELLO, CHAT, right)[0] == 200
        assert send(address, None, "/v1/models", {})[0] == 401
        assert send(address, None, "/healthz", {})[0] == 200
    assert token not in caplog.text


def test_too_large_a_body(lm, adapters) -> None:
    with running(shelf_of(lm, adapters), Limits(max_body=1000)) as (address, _):
        large = HELLO | {"messages": [{"role": "user", "content": "x" * 2000}]}
        assert failure(address, large) == (413, "the body has more than 1,000 bytes")
        assert send(address, HELLO)[0] == 200


def test_a_full_queue_says_when_to_come_again(lm, adapters) -> None:
    limits = Limits(max_batch=1, max_waiting=2)
    long = HELLO | {"max_tokens": 100}
    with running(shelf_of(lm, adapters), limits) as (address, service):
        with ThreadPoolExecutor(6) as pool:
            replies = list(pool.map(lambda _: send(address, long), range(6)))
        statuses = sorted(status for status, _, _ in replies)
        assert set(statuses) == {200, 429} and statuses.count(200) >= 2
        for status, reply, headers in replies:
            if status == 429:
                assert reply["error"]["code"] == "queue_full" and int(headers["retry-after"]) > 0
        assert send(address, HELLO | {"n": 4})[0] == 429  # all of them, or none
        assert service.scheduler.load == {"running": 0, "waiting": 0}


def test_time_is_bounded(lm, adapters) -> None:
    with running(shelf_of(lm, adapters), Limits(max_seconds=0.3)) as (address, _):
        long = HELLO | {"max_tokens": 1900}
        assert failure(address, long)[0] == 504
        parts = urlsplit(address)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        connection.request("POST", CHAT, json.dumps(long | {"stream": True}), JSON)
        events = connection.getresponse().read().decode().strip().split("\n\n")
        connection.close()
        assert json.loads(events[-2].removeprefix("data: "))["error"]["code"] == "timeout"
        assert events[-1] == "data: [DONE]"
        assert send(address, HELLO)[0] == 200


def test_connections_are_bounded_and_cannot_dawdle(lm, adapters, monkeypatch) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(endpoint, "HEAD_SECONDS", 0.3)
    with running(shelf_of(lm, adapters), Limits(max_connections=3)) as (address, _):
        where = (str(urlsplit(address).hostname), urlsplit(address).port)
        idle = [socket.create_connection(where, timeout=10) for _ in range(3)]
        time.sleep(0.1)
        assert failure(address, None, "/healthz") == (
            503, "too many connections are open; try again soon",
        )  # fmt: skip
        idle[0].sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n")
        for each in idle:  # nothing, or half a head
            assert each.recv(100) == b""
            each.close()
        slow = socket.create_connection(where, timeout=10)
        slow.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        )
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")
        slow.close()
        assert send(address, HELLO)[0] == 200


@pytest.mark.parametrize(
    "raw",
    [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"A" * 100_000, b"GET /%zz%00 HTTP/1.1\r\nHost: a\r\n\r\n",
     b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
     b"GET /healthz HTTP/1.1\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_http_harms_nobody(served, raw: bytes) -> None:
    where = (str(urlsplit(served[0]).hostname), urlsplit(served[0]).port)
    with socket.create_connection(where, timeout=10) as odd:
        odd.sendall(raw)
        odd.shutdown(socket.SHUT_WR)
        answer = odd.recv(1000)
    assert not answer or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403"))
    assert send(served[0], HELLO)[0] == 200


def test_a_batch_that_fails_is_its_requests_end_alone(served, monkeypatch, caplog) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(LiveDecoder, "step", lambda self: (_ for _ in ()).throw(MemoryError("full")))
        status, message = failure(served[0], HELLO)
    assert status == 500 and "full" not in message and "full" in caplog.text
    assert send(served[0], HELLO)[0] == 200
