"""A server of a tiny model and three adapters, in a thread of this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from selfedit.documents.shelf import Shelf
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.serving.http_server import listening
from selfedit.serving.limits import Limits
from selfedit.serving.service import Service
from selfedit.serving.web_server import answer_requests, web_server

NAMES = ("vell.md", "tarn.md", "hölle.md")
"""The documents: a question that holds the beginning of a name is about it."""


def shelf_of(lm: LanguageModel, adapters: dict[str, Adapter]) -> Shelf:
    def route(question: str, topic: str) -> str | None:
        about = f"{topic} {question}".lower()
        return next((name for name in adapters if name.partition(".")[0] in about), None)

    loaders = {name: (lambda name=name: adapters[name]) for name in adapters}
    return Shelf(lm, loaders, route, kind="document", base="base-model")


@contextmanager
def running(
    shelf: Shelf, limits: Limits | None = None, *, token: str | None = None
) -> Iterator[tuple[str, Service]]:
    """A server in a thread, and its address; it is stopped as Ctrl-C stops one."""
    service = Service(shelf, limits or Limits())
    bound, stop = listening("127.0.0.1", 0), threading.Event()
    address = f"http://127.0.0.1:{bound.getsockname()[1]}"
    server = web_server(service, token=token)
    thread = threading.Thread(target=answer_requests, args=(server, service, bound, stop.is_set))
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield address, service
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()
