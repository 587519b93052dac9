"""Trackio: its own database on this machine, or the Space or server that its own variables name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from selfedit.trackers.base import TrackedRun

# Not among the tested packages (it wants an older Pillow), so nothing of it is typed.
trackio: Any = import_module("trackio")
_ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


class Trackio:
    """One run there; it is found by its name, so its id is part of that."""

    def __init__(self, run: TrackedRun) -> None:
        name = f"{run.name}-{run.id}"
        self._run = trackio.init(
            project=run.project,
            name=name,
            config=dict(run.settings),
            resume="allow",
            # What a machine is busy with is not the run's.
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        # It writes twice a second: what a killed process had not yet written is sent again.
        self.last_step: int | None = None
        if not any(os.environ.get(variable) for variable in _ELSEWHERE):
            last = trackio.SQLiteStorage.get_last_step(run.project, name)
            self.last_step = -1 if last is None else last

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """See `Tracker`."""
        self._run.finish()


TRACKER = Trackio
