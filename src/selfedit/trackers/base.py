"""What a tracker is, and which one a setting names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from selfedit.config.choice import Choice
from selfedit.errors import Unavailable, UsageError

TRACKERS = Choice("run.trackers", "selfedit.trackers", "TRACKER")
"""The classes of trackers: ours, each in a file of its name, or anybody's."""


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of a run.

    Attributes:
        id: names the run in the tracker; the same whenever the run is gone on with.
        name: of the run's folder, for people.
        project: what runs are grouped by.
        folder: the run's.
        settings: as the folder has them, frozen: no secret is among them.
    """

    id: str
    name: str
    project: str
    folder: Path
    settings: Mapping[str, Any]


class Tracker(Protocol):
    """Where a run's metrics go. It is made when the run starts or goes on, and may raise whatever
    its library raises: the run says so once and goes on without it.

    Attributes:
        last_step: the last step that the tracker has of this run already, -1 for none; None where
            it cannot say.
    """

    last_step: int | None

    def __init__(self, run: TrackedRun) -> None: ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the numbers of one row of metrics; ``step`` is its number in the file, from 0."""
        ...

    def close(self) -> None:
        """The run has ended or was stopped."""
        ...


def tracker_classes(names: tuple[str, ...]) -> dict[str, type[Tracker]]:
    """The classes that settings name, each with its library.

    Raises:
        Unavailable: one's library is not installed.
        UsageError: there is no such tracker.
    """
    classes: dict[str, type[Tracker]] = {}
    for name in names:
        try:
            classes[name] = TRACKERS.load(name)
        except UsageError as error:
            missing = error.__cause__
            if name not in TRACKERS.names() or not isinstance(missing, ModuleNotFoundError):
                raise
            what, fix = f"{missing.name} is not installed", f"pip install 'selfedit[{name}]'"
            raise Unavailable(what, where=f"run.trackers = {name}", fix=fix) from error
    return classes
