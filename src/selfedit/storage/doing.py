"""What this process is busy with: told to a person when nothing else has been for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_busy_with: list[str] = []


@contextmanager
def doing(words: str) -> Iterator[None]:
    """While this lasts, the process is busy with that; within it with what begins in it."""
    _busy_with.append(words)
    try:
        yield
    finally:
        # Not the last one: another thread may have begun something meanwhile.
        _busy_with.remove(words)


def doing_now() -> str:
    """What was begun last and is not at its end; empty if nothing says."""
    return _busy_with[-1] if _busy_with else ""
