"""What is fuzzed: a reader, and a few inputs to begin with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Target(NamedTuple):
    """A reader of one file's bytes, inputs that it reads, and its share of a campaign (slow ones
    have a small one).
    """

    run: Callable[[Path, bytes], object]
    seeds: tuple[bytes, ...]
    weight: int = 10


def file(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    """A reader that is given the path of a file called so."""

    def run(folder: Path, data: bytes) -> object:
        path = folder / name
        path.write_bytes(data)
        try:
            return read(path)
        finally:
            path.unlink()

    return run


def text(read: Callable[[str], object]) -> Callable[[Path, bytes], object]:
    """A reader that is given text."""
    return lambda _, data: read(data.decode("utf-8", "surrogateescape"))


def plain(value: Any) -> bytes:
    return json.dumps(value).encode()
