"""A word where a run would be silent: a large model's files are read for a minute, say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from selfedit.run.lasting import LastingStream
from selfedit.run.progress import duration
from selfedit.storage.doing import doing_now

SILENT_SECONDS = 20.0
"""How long nothing may be said."""


@contextmanager
def heartbeat(
    say: Callable[[str], None], seconds: float = SILENT_SECONDS, every: float = 1.0
) -> Iterator[None]:
    """While this lasts, say what the process is doing when nothing was written for so long.

    Args:
        say: gets one line.
        seconds: without a word, before one is said.
        every: seconds between two looks.
    """
    began = time.monotonic()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            now = time.monotonic()
            if now - max(began, LastingStream.written_at) >= seconds:
                say(f"{doing_now() or 'still at it'}: {duration(now - began)} so far")
                # Also where say writes to no lasting stream: the next word comes as late again.
                LastingStream.written_at = now

    # A daemon: a process that ends otherwise must not wait for it.
    watcher = threading.Thread(target=watch, name="heartbeat", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
