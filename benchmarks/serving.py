"""``bench serve``: many clients of `selfedit serve` at once, beside the same requests one after
another.

Server and clients are in this process and speak HTTP on this machine's own address. No text ends
before its length, so both sides write the same number of tokens; the adapters are random, and
loaded before anything is measured. The sides take turns.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.answering import random_adapter
from selfedit.documents.shelf import Shelf
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import LoraSpec
from selfedit.lm.shape import Shape
from selfedit.serving.http_server import listening
from selfedit.serving.limits import Limits
from selfedit.serving.service import Service
from selfedit.serving.web_server import answer_requests, web_server
from selfedit.storage.files import canonical_json, write_atomic
from selfedit.tasks.knowledge.contexts import load_contexts

ALONE, TOGETHER = "one after another", "at once"
TARGET = 3
_HEADERS = {"content-type": "application/json"}


def bench_serve(
    model: str,
    out: Path,
    *,
    adapters: int = 16,
    requests: int = 32,
    new_tokens: int = 24,
    rounds: int = 3,
    on_part: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure, and store ``results.json`` in ``out``.

    Args:
        model: a short name or a folder.
        out: the folder.
        adapters: of rank 16 on all linear modules; requests go to them in turn.
        requests: questions, each a chat of one turn.
        new_tokens: of each answer.
        rounds: times both sides are measured.
        on_part: told of every measurement.
    """
    lm = replace(load(model), eos_ids=frozenset())
    bodies = _bodies(adapters, requests, new_tokens)
    seconds: dict[str, list[float]] = {ALONE: [], TOGETHER: []}
    equal = True
    with _server(_shelf(lm, adapters), requests) as port:
        _ask_all(port, bodies[:adapters], 1)  # every adapter is in memory, every buffer was used
        for number in range(rounds):
            texts = {}
            for side, clients in ((ALONE, 1), (TOGETHER, requests)):
                start = time.perf_counter()
                texts[side] = _ask_all(port, bodies, clients)
                seconds[side].append(time.perf_counter() - start)
                on_part(f"round {number + 1}, {side}: {seconds[side][-1]:.1f} s")
            equal = equal and texts[ALONE] == texts[TOGETHER]
    ratios = [a / b for a, b in zip(seconds[ALONE], seconds[TOGETHER], strict=True)]
    results = _results(model, adapters, requests, new_tokens, seconds, ratios, equal=equal)
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "results.json", canonical_json(results))
    return results


def _results(
    model: str,
    adapters: int,
    requests: int,
    new_tokens: int,
    seconds: dict[str, list[float]],
    ratios: Sequence[float],
    *,
    equal: bool,
) -> dict[str, Any]:
    figure = f"× as fast: {requests} requests to {adapters} adapters at once"
    return {
        "benchmark": "serve",
        "model": model,
        "adapters": adapters,
        "requests": requests,
        "new_tokens": new_tokens,
        "threads": torch.get_num_threads(),
        "equal": equal,
        "rows": [
            {
                "name": side,
                "seconds": values,
                "median": median(values),
                "ratio": median(ratios) if side == TOGETHER else 1.0,
            }
            for side, values in seconds.items()
        ],
        "ratios": list(ratios),
        "targets": [
            {
                "figure": figure,
                "bound": f"≥ {TARGET}",
                "measured": median(ratios),
                "met": median(ratios) >= TARGET,
            }
        ],
    }


def _bodies(adapters: int, requests: int, new_tokens: int) -> list[bytes]:
    """Questions of the corpus, to one adapter after the other."""
    contexts = load_contexts("corpus:learn")
    texts = [question.text for context in contexts for question in context.questions]
    return [
        json.dumps(
            {
                "model": _name(number % adapters),
                "messages": [{"role": "user", "content": text}],
                "max_tokens": new_tokens,
            }
        ).encode()
        for number, text in enumerate(islice(cycle(texts), requests))
    ]


def _name(number: int) -> str:
    return f"document-{number}"


def _shelf(lm: LanguageModel, adapters: int) -> Shelf:
    shape, spec = Shape.of(lm.model.config), LoraSpec()
    loaders = {_name(k): partial(random_adapter, shape, spec, k) for k in range(adapters)}
    return Shelf(lm, loaders, lambda *_: None, kind="document", base="model", kept=adapters)


@contextmanager
def _server(shelf: Shelf, requests: int) -> Iterator[int]:
    """A running server's port."""
    adapters = len(shelf.names) - 2
    service = Service(shelf, Limits(max_batch=requests, max_adapters=adapters))
    bound, stop = listening("127.0.0.1", 0), threading.Event()
    port, started = bound.getsockname()[1], threading.Event()
    server = web_server(service)
    thread = threading.Thread(
        target=answer_requests, args=(server, service, bound, stop.is_set, started.set)
    )
    thread.start()
    try:
        started.wait(60)
        yield port
    finally:
        stop.set()
        thread.join()


def _ask_all(port: int, bodies: Sequence[bytes], clients: int) -> list[str]:
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(partial(_ask, port), bodies))


def _ask(port: int, body: bytes) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request("POST", "/v1/chat/completions", body, _HEADERS)
        reply = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return str(reply["choices"][0]["message"]["content"])
