"""Trackers for tests: one that writes down what it is told, one that fails."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from selfedit.trackers.base import TrackedRun


class Noted:
    """Writes every call into a file beside the run's folder; does not know what it has."""

    def __init__(self, run: TrackedRun) -> None:
        self.last_step: int | None = None
        self.path = run.folder.parent / "noted.jsonl"
        self.note(["open", run.id, run.name, run.project, dict(run.settings)])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.note(["log", step, dict(values)])

    def close(self) -> None:
        self.note(["close"])

    def note(self, what: list[object]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(what) + "\n")


class Knowing(Noted):
    """The same, but it can say what it has."""

    def __init__(self, run: TrackedRun) -> None:
        super().__init__(run)
        steps = [line[1] for line in noted(run.folder) if line[0] == "log"]
        self.last_step = max(steps, default=-1)


class Failing(Noted):
    """Takes two rows and no more."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step >= 2:
            raise ConnectionError("\x1b[2Jno network")
        super().log(step, values)


def noted(folder: Path) -> list[list]:
    lines = (folder.parent / "noted.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
