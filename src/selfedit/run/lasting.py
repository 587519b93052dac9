"""A stream for messages that may lose its reader: a closed terminal must not end a run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class LastingStream:
    """A text stream that goes on when its terminal or pipe is gone: what is written then goes
    nowhere, at the process's end too.
    """

    written_at = 0.0
    """When anything was last written to any of them, by the monotonic clock."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or let go of a stream that cannot be written."""
        LastingStream.written_at = time.monotonic()
        with self._lasting():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As `write`."""
        with self._lasting():
            self._stream.flush()

    @contextmanager
    def _lasting(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            # Python would complain once more when it flushes at its end.
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
