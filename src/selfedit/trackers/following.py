"""A run followed by its trackers: every row of ``metrics.jsonl`` goes to each once, across kills.

``trackers.json`` in the run's folder keeps, for each tracker, the id of its run and the last row
that was handed over; it is written before the row is. Where a tracker can say what it has, that
counts instead, so that a row which was lost in between is sent again.
"""

from __future__ import annotations

import logging
import math
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Annotated

from pydantic import BaseModel, StringConstraints

from selfedit.config.run import RunSettings
from selfedit.errors import RunFolderError, first_line
from selfedit.run.folder import RunFolder
from selfedit.storage.bounded import BoundedReader
from selfedit.storage.files import JsonObject, canonical_json, write_atomic
from selfedit.storage.neutral import in_line
from selfedit.trackers.base import TrackedRun, Tracker, tracker_classes

STATE = "trackers.json"
_LOG = logging.getLogger(__name__)
_UNWANTED = re.compile(r"[^\w ./-]")
_PLACE_WORDS = ("phase", "method")
"""What of a row says where it belongs; its other texts may be anybody's, and stay here."""


class _Sent(BaseModel):
    id: Annotated[str, StringConstraints(pattern="^[0-9a-f]{8}$")]
    row: int = -1


_STATE_READER = BoundedReader(
    "what trackers were sent", error=RunFolderError, fix="remove it: trackers begin new runs"
)


class Following:
    """The trackers of a run that is under way. One that fails is named once and left."""

    def __init__(self, run: RunFolder, settings: RunSettings) -> None:
        self._path, self._open = run.path / STATE, dict[str, Tracker]()
        stored = _STATE_READER.json(self._path) if self._path.exists() else {}
        self._sent = _STATE_READER.shape(stored, dict[str, _Sent], self._path)
        for name, kind in tracker_classes(settings.trackers).items():
            state = self._sent.setdefault(name, _Sent(id=secrets.token_hex(4)))
            # Kept before the tracker knows it: a kill in between must not make a second run there.
            self._keep()
            about = TrackedRun(
                state.id, in_line(run.path.resolve().name, 80), settings.project, run.path,
                run.settings,
            )  # fmt: skip
            with self._lasting(name, "cannot be started"):
                self._open[name] = tracker = kind(about)
                if tracker.last_step is not None:
                    state.row = tracker.last_step
        # A resumed run: what was written while no tracker listened, or was lost with the process.
        for number, row in enumerate(run.metrics()):
            self.send(number, row)

    def send(self, number: int, row: JsonObject) -> None:
        """Hand a row over to those that do not have it."""
        behind = [name for name in self._open if self._sent[name].row < number]
        for name in behind:
            self._sent[name].row = number
        # Before any of them has it: a kill loses a row at most, and never sends one twice.
        if behind:
            self._keep()
        for name in behind:
            with self._lasting(name, "takes no more rows"):
                self._open[name].log(number, numbers_of(row))

    def close(self) -> None:
        """End the trackers' runs."""
        for name in list(self._open):
            with self._lasting(name, "was not closed"):
                self._open.pop(name).close()

    def _keep(self) -> None:
        state = {name: each.model_dump() for name, each in self._sent.items()}
        write_atomic(self._path, canonical_json(state))

    @contextmanager
    def _lasting(self, name: str, what: str) -> Iterator[None]:
        """Go on without a tracker that fails; stdout carries a command's results and nothing of
        theirs.
        """
        try:
            with redirect_stdout(sys.stderr):
                yield
        except Exception as error:  # a tracker's library may raise anything
            self._open.pop(name, None)
            reason = in_line(first_line(error), 200)
            text = "the tracker %s %s, and the run goes on without it: %s"
            _LOG.warning(text, name, what, reason)


@contextmanager
def following(run: RunFolder, settings: RunSettings) -> Iterator[None]:
    """Send a run's metrics to its trackers inside the block; without any, do nothing.

    Raises:
        Unavailable, UsageError: see `tracker_classes`.
    """
    if not settings.trackers:
        yield
        return
    followed = Following(run, settings)
    run.on_metric = followed.send
    try:
        yield
    finally:
        run.on_metric = None
        followed.close()


def numbers_of(row: JsonObject) -> dict[str, float]:
    """A row's numbers by names with its kind before them: ``round/accuracy``, ``inner/rl/loss``,
    ``round/movement/learned/kl``.
    """
    kind = str(row.get("id", "row")).partition("-")[0]
    words = [kind, *(str(row[name]) for name in _PLACE_WORDS if row.get(name))]
    return {
        _UNWANTED.sub("_", name)[:200]: value for name, value in _flat_numbers(row, "/".join(words))
    }


def _flat_numbers(values: Mapping[str, object], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat_numbers(value, f"{prefix}/{name}")
        # A NaN would end the upload of some of them.
        elif isinstance(value, int | float) and math.isfinite(value):
            yield f"{prefix}/{name}", float(value)
