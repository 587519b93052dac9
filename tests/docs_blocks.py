"""The fenced blocks of a page, and how a test runs them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced block: its language, the file it is, its text."""

    language: str
    title: str
    text: str

    def commands(self) -> Iterator[list[str]]:
        """Its lines as words, without comments."""
        for line in self.text.splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    return [Block(*found) for found in _FENCE.findall(page.read_text(encoding="utf-8"))]
