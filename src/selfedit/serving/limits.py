"""How much one client, and all of them together, may ask of a server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """See `docs/serve.md`.

    Attributes:
        max_batch: texts written at once.
        max_adapters: adapters in one batch.
        max_loaded: adapters in memory.
        max_waiting: texts that may wait for a place; further requests are told to come again.
        max_connections: connections open at once.
        max_tokens: tokens of an answer where a request does not say.
        max_body: bytes of a request.
        max_seconds: from a request's arrival to its end, waiting included.
    """

    max_batch: int = 32
    max_adapters: int = 16
    max_loaded: int = 64
    max_waiting: int = 128
    max_connections: int = 256
    max_tokens: int = 256
    max_body: int = 2**20
    max_seconds: float = 600


HEAD_SECONDS = 20.0
"""From a connection's beginning to the end of a request's head; the same again for its body."""
IDLE_SECONDS = 30.0
"""A connection without a request is closed."""
DRAIN_SECONDS = 30.0
"""What runs may go on for so long when the server is stopped."""
AGAIN_SECONDS = 2
"""When a request that found no room may come again."""
