"""A run's metrics: one JSON object a line, for plots while the run is under way."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfedit.storage.bounded import Unreadable, decoded, json_value
from selfedit.storage.files import canonical_json, storage_errors


class Metrics:
    """The lines of metrics.jsonl, the ledger's shadow: no number is there alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: set[str] | None = None
        self._count: int | None = None

    def repair(self) -> None:
        """Cut off what a crash has left of a half-written line."""
        length = sum(len(line) for line, _ in self._read())
        if self.path.exists() and self.path.stat().st_size != length:
            os.truncate(self.path, length)

    def append(
        self, metric: Mapping[str, Any], *, once: str | None = None
    ) -> tuple[int, dict[str, Any]] | None:
        """Append a line; `once` names it (under "id"), and a line whose name is there already is
        not written again.

        Returns:
            The line's number in the file, from 0, and what it says; None if it was there already.

        Raises:
            StorageFull: if there is no room; no part of the line is left.
        """
        if once is not None:
            if once in self.names:
                return None
            metric = {"id": once, **metric}
        line = canonical_json(metric, indent=None)
        self._count = self.count
        before = self.path.stat().st_size if self.path.exists() else 0
        with storage_errors(self.path):
            try:
                with self.path.open("ab") as file:
                    file.write(line)
            except OSError:
                if self.path.exists():
                    os.truncate(self.path, before)
                raise
        if once is not None:
            self.names.add(once)
        self._count += 1
        return self._count - 1, json_value(line.decode())

    @property
    def count(self) -> int:
        """How many lines there are."""
        return len(self._read()) if self._count is None else self._count

    @property
    def names(self) -> set[str]:
        """The names of the lines that were written with `once`."""
        if self._names is None:
            self._names = {
                metric["id"] for metric in self.lines() if isinstance(metric.get("id"), str)
            }
        return self._names

    def lines(self) -> list[dict[str, Any]]:
        """Every whole line."""
        return [metric for _, metric in self._read()]

    def _read(self) -> list[tuple[bytes, dict[str, Any]]]:
        """The whole lines as they are and read, up to the first that is not one."""
        metrics: list[tuple[bytes, dict[str, Any]]] = []
        for line in self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []:
            metric = _object(line)
            if metric is None:
                break
            metrics.append((line, metric))
        return metrics


def _object(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        metric = json_value(decoded(line))
    except Unreadable:
        return None
    return metric if isinstance(metric, dict) else None
