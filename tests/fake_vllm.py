"""A vLLM server in small: OpenAI's API as vLLM speaks it, computed by this library on a model of ours.

``with FakeVllm(lm) as server: server.url``. ``server.fault(path, body, number)`` is called for the
``number``-th request and may send something else: it returns (status, text) then, or raises
`OSError` to cut the connection.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfedit.lm.generate import generate
from selfedit.lm.likelihood import answer_losses
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.tasks.grammar import NextTokens, TokenGrammar

Fault = Callable[[str, dict[str, Any], int], "tuple[int, str] | None"]


class LarkRule:
    """What a server holds a text to: the grammar, then its end."""

    done = False

    def __init__(self, lm: LanguageModel, lark: str) -> None:
        grammar = TokenGrammar(
            lm.tokenizer, lambda m: m.grammar_from_lark(lark), vocabulary=len(lm.head), without=""
        )
        self._lm, self._matcher = lm, grammar.start()
        self._vocabulary, self._next = grammar.vocabulary, NextTokens(grammar.vocabulary)

    def allowed(self, mask: NDArray[np.bool_]) -> None:
        mask[:] = False
        if self._matcher.is_stopped():
            mask[self._lm.end_id] = True
        else:
            mask[: self._vocabulary] = self._next.of(self._matcher)

    def advance(self, token: int) -> None:
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)


class FakeVllm:
    """The server; ``asked`` is its log, ``loaded`` its adapters by name, ``names`` all there were."""

    def __init__(self, lm: LanguageModel, fault: Fault = lambda *_: None) -> None:
        self.lm, self.fault = lm, fault
        self.version, self.models, self.lora = "0.32.0", ["small"], True
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.loaded: dict[str, Adapter] = {}
        self.names: list[str] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> FakeVllm:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def texts(self) -> int:
        """Completions asked for."""
        return sum(path.endswith("completions") for path, _ in self.asked)

    def reply(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        # One at a time: the model's bank of adapters is one.
        with self._lock:
            self.asked.append((path, body))
            if (odd := self.fault(path, body, len(self.asked))) is not None:
                return odd
            if path == "/version":
                return 200, json.dumps({"version": self.version})
            if path == "/tokenize":
                return 200, json.dumps({"tokens": list(self.lm.encode(body["prompt"]))})
            if path == "/v1/models":
                cards = [{"id": name, "parent": None, "max_model_len": 512} for name in self.models]
                return 200, json.dumps({"data": cards})
            if path == "/v1/load_lora_adapter" and self.lora:
                return self._load(body)
            if path == "/v1/unload_lora_adapter" and self.lora:
                known = self.loaded.pop(body["lora_name"], None)
                return (200, "removed") if known else (404, "cannot be found")
            if path == "/v1/completions":
                return self._complete(body)
        return 404, '{"detail":"Not Found"}'

    def _load(self, body: dict[str, Any]) -> tuple[int, str]:
        try:
            self.loaded[body["lora_name"]] = Adapter.load(body["lora_path"])
        except Exception as error:
            return 404, f"Loading lora failed: No adapter found for {error}"
        self.names.append(body["lora_name"])
        return 200, "added"

    def _complete(self, body: dict[str, Any]) -> tuple[int, str]:
        name = body["model"]
        if name not in [*self.models, *self.loaded]:
            return 404, json.dumps({"error": {"message": f"The model `{name}` does not exist."}})
        lark = body.get("structured_outputs", {}).get("grammar")
        prompt, adapter = tuple(body["prompt"]), self.loaded.get(name)
        written = generate(
            self.lm,
            [prompt],
            [adapter],
            max_new_tokens=body["max_tokens"],
            temperature=body.get("temperature", 1.0),
            top_p=body.get("top_p", 1.0),
            seeds=[body.get("seed", 0)],
            rules=None if lark is None else [LarkRule(self.lm, lark)],
            alphabet=body.get("allowed_token_ids"),
        )[0]
        tokens, logs = written.sampled, list(written.logprobs)
        if not logs and "logprobs" in body:
            logs = [self._log(prompt, tokens, place, adapter) for place in range(len(tokens))]
        choice = {"token_ids": list(tokens), "logprobs": {"token_logprobs": logs}}
        return 200, json.dumps({"choices": [choice]})

    def _log(
        self, prompt: tuple[int, ...], tokens: tuple[int, ...], place: int, adapter: Adapter | None
    ) -> float:
        ids = (*prompt, *tokens[: place + 1])
        return -answer_losses(self.lm, [(ids, (*[False] * (len(ids) - 1), True))], [adapter])[0]


def _handler(server: FakeVllm) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({})

        def do_POST(self) -> None:
            self._send(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _send(self, body: dict[str, Any]) -> None:
            try:
                status, text = server.reply(self.path, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler
