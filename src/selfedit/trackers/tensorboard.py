"""TensorBoard: event files in the run's own folder, ``tensorboard --logdir runs/``."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from torch.utils.tensorboard import SummaryWriter

from selfedit.trackers.base import TrackedRun


class TensorBoard:
    """Event files; each start of the run adds one."""

    def __init__(self, run: TrackedRun) -> None:
        folder = run.folder / "tensorboard"
        # Read before a new file is made: a killed process has cut its last record short, which
        # this reader leaves out.
        last = -1
        for path in sorted(folder.glob("events.*")):
            for event in EventFileLoader(str(path)).Load():
                if event.HasField("summary"):
                    last = max(last, event.step)
        self.last_step: int | None = last
        self._writer = SummaryWriter(str(folder), max_queue=1)
        if last < 0:
            # As a row before the first one; texts are Markdown there.
            self._writer.add_text("settings", f"    {json.dumps(run.settings)}", -1)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """See `Tracker`."""
        self._writer.close()


TRACKER = TensorBoard
