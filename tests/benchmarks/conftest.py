"""Benchmarks on a random model, their contestants in this process: a process of its own for each
takes seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import generate, inner
from benchmarks.contestants import ACTIONS, Contestant


class Here:
    """A contestant in this process; requests and answers cross as JSON all the same."""

    asked: list[str] = []  # noqa: RUF012 - shared on purpose: what all of them were asked

    def __init__(self, **load: Any) -> None:
        self._contestant, self._answer = Contestant(**load), {}

    def send(self, do: str, **request: Any) -> None:
        Here.asked.append(do)
        self._answer = ACTIONS[do](self._contestant, **json.loads(json.dumps(request)))

    def answer(self) -> dict[str, Any]:
        return json.loads(json.dumps(self._answer))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Contestants in this process, one thread; returns what they were asked."""

    @contextmanager
    def made(_: Path, count: int, **load: Any) -> Iterator[Sequence[Here]]:
        yield [Here(**load) for _ in range(count)]

    monkeypatch.setattr(Here, "asked", [])
    for module in (inner, generate):
        monkeypatch.setattr(module, "children", made)
        monkeypatch.setattr(module, "default_workers", lambda: 1)
    return Here.asked
