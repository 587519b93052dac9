"""A run's folder: made whole or not at all, opened by one process at a time, gone on with after any
end.

run.json           what this is: the run's kind and the folder's form
config.toml        the resolved settings, frozen
environment.json   versions, git revision, hardware, data hashes
ledger.sqlite      everything done so far
metrics.jsonl      one JSON object a line, for plots while it runs
adapters/          adapters worth keeping
policy/round-N/    the policy after round N
results.json       the numbers; the same bytes for the same settings and seed
report/            pictures and pages
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from selfedit.errors import ModelFileError, RunFolderError
from selfedit.run.ledger import Ledger
from selfedit.run.marker import (
    LOCK,
    Marker,
    as_environment,
    is_run,
    read_json,
    read_marker,
    refuse_foreign,
    write_marker,
)
from selfedit.run.metrics import Metrics
from selfedit.run.settings import check_unchanged, described, frozen, read_frozen, write_settings
from selfedit.storage.files import (
    JsonObject,
    canonical_json,
    folder_atomic,
    storage_errors,
    sweep,
    write_atomic,
)
from selfedit.storage.lock import FolderLock
from selfedit.storage.neutral import in_lines

__all__ = ["RunFolder", "folder_atomic", "write_atomic"]

_LEDGER = "ledger.sqlite"
_MODEL = "model"
"""The step that holds which weights the run works with."""
_LOG = logging.getLogger(__name__)


class RunFolder:
    """A run's folder, from `open` (to run in it) or `read` (to report on it). Close it, or use it
    in a ``with``.

    Attributes:
        path: the folder.
        kind: what kind of run this is, "rl" for example.
        settings: the frozen settings, as config.toml has them.
        ledger: the run's ledger.
        resumed: whether the run had been started before.
        on_metric: told of every new line of metrics.jsonl, with its number from 0.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        settings: dict[str, Any],
        ledger: Ledger,
        *,
        lock: FolderLock | None,
        resumed: bool,
    ) -> None:
        self.path = path
        self.kind = kind
        self.settings = settings
        self.ledger = ledger
        self.resumed = resumed
        self._lock = lock
        self._metrics = Metrics(path / "metrics.jsonl")
        self.on_metric: Callable[[int, dict[str, Any]], None] | None = None

    @classmethod
    def open(cls, path: str | Path, settings: Mapping[str, Any], *, kind: str) -> RunFolder:
        """Start a run in a new or empty folder, or go on with the one that is there.

        Args:
            path: the folder; made with its parents if it is not there.
            settings: the resolved settings, nested; a value of None counts as not set.
            kind: what kind of run this is; a folder is resumed only by its own kind.

        Raises:
            SettingsChanged: if the run was started with other settings.
            RunFolderError: if the folder holds something else, another kind or form of run, or is
                in use.
            StorageFull: if there is no room.
            UsageError: if a setting cannot be written.
        """
        path, frozen_settings = Path(path), frozen(settings)
        refuse_foreign(path, kind)
        try:
            with storage_errors(path):
                path.mkdir(parents=True, exist_ok=True)
                lock = FolderLock(path / LOCK)
        except (OSError, ValueError) as error:  # ValueError: a name that no folder can have
            reason = getattr(error, "strerror", None) or error
            what = f"the folder cannot be made or written: {reason}"
            raise RunFolderError(
                what, where=path, fix="give another folder, or the right to write there"
            ) from error
        try:
            return cls._locked(path, frozen_settings, kind, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _locked(
        cls, path: Path, settings: dict[str, Any], kind: str, lock: FolderLock
    ) -> RunFolder:
        refuse_foreign(path, kind)  # again: another process may have been faster
        sweep(path)
        # The marker comes first and the ledger last, so a start that was killed halfway is
        # recognised and finished.
        if not is_run(path):
            write_marker(path, Marker(kind))
        begun, resumed = read_marker(path, kind).ledger, (path / _LEDGER).exists()
        if begun or resumed or (path / "config.toml").exists():
            changed = check_unchanged(
                read_frozen(path / "config.toml"), settings, path / "config.toml"
            )
        else:
            write_settings(path / "config.toml", settings)
            changed = []
        for change in changed:
            _LOG.warning(
                "goes on with %s: inner loops that are still to run are grouped anew, and their"
                " numbers may differ in the last digits",
                change,
            )
        Metrics(path / "metrics.jsonl").repair()
        ledger = Ledger(path / _LEDGER, begun=begun)
        try:
            if not begun:
                write_marker(path, Marker(kind, ledger=True))
        except BaseException:
            ledger.close()
            raise
        return cls(path, kind, settings, ledger, lock=lock, resumed=resumed)

    @classmethod
    def read(cls, path: str | Path, *, check: bool = True) -> RunFolder:
        """Open a run's folder for reading, finished or not, even while a process runs in it.

        Args:
            path: the folder.
            check: see at once that its ledger holds what was stored.

        Raises:
            RunFolderError: if this is not a run's folder, or one of another form.
        """
        path = Path(path)
        kind = read_marker(path).kind
        ledger = Ledger(path / _LEDGER, readonly=True, begun=True, check=check)
        try:
            return cls(
                path, kind, read_frozen(path / "config.toml"), ledger, lock=None, resumed=True
            )
        except BaseException:
            ledger.close()
            raise

    def close(self) -> None:
        """Close the ledger and let the folder go; may be called again."""
        self.ledger.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def adapters(self) -> Path:
        """The folder of adapters worth keeping; as `policy`."""
        self.check_there()
        return self.path / "adapters"

    @property
    def report(self) -> Path:
        """The folder of pictures and pages."""
        return self.path / "report"

    def policy(self, round: int) -> Path:
        """The folder of the policy after a round; fill it with `folder_atomic`.

        Raises:
            RunFolderError: the run's folder is gone, and would be made anew.
        """
        self.check_there()
        return self.path / "policy" / f"round-{round}"

    def check_there(self) -> None:
        """See that this is still the folder that was opened, before something is written to it.

        Raises:
            RunFolderError: it was moved, removed or emptied meanwhile.
        """
        if self._lock is not None:
            self.ledger.check_there()
            read_marker(self.path, self.kind)

    def rounds(self) -> Iterator[JsonObject]:
        """What each finished round did, in their order, as the ledger keeps it."""
        for number in count(1):
            done = self.ledger.step(f"round-{number}")
            if done is None:
                return
            yield done

    def append_metric(self, metric: Mapping[str, Any], *, once: str | None = None) -> None:
        """Append one JSON line to metrics.jsonl.

        Args:
            metric: plain data; NaN becomes null.
            once: a name for this line, stored under "id". A line whose name is there already is not
                written again, so a step that a crash makes the run repeat leaves one line, not two.
        """
        self.check_there()
        written = self._metrics.append(metric, once=once)
        if written is not None and self.on_metric is not None:
            self.on_metric(*written)

    def metrics(self) -> list[dict[str, Any]]:
        """Every whole line of metrics.jsonl."""
        return self._metrics.lines()

    def write_results(self, results: Any) -> Path:
        """Write results.json: sorted keys, ``repr`` floats, null for NaN, so that equal results are
        equal bytes.
        """
        self.check_there()
        path = self.path / "results.json"
        write_atomic(path, canonical_json(results))
        return path

    def results(self) -> Any | None:
        """What results.json holds; None if the run has none yet."""
        return read_json(self.path / "results.json")

    def keep_model(self, name: str, fingerprint: str) -> None:
        """Freeze which weights the run works with; at a resume, refuse others.

        Args:
            name: what the model was loaded by.
            fingerprint: of its weights, see `LanguageModel`.

        Raises:
            ModelFileError: the run was started with other weights.
        """
        frozen_model = self.ledger.step(_MODEL)
        if frozen_model is None:
            self.ledger.finish_step(_MODEL, {"name": name, "fingerprint": fingerprint})
        elif frozen_model["fingerprint"] != fingerprint:
            what = (
                "the model's weights are not those this run was started with: fingerprint"
                f" {frozen_model['fingerprint'][:16]}… then, {fingerprint[:16]}… now"
            )
            fix = f"put the old weights of {name} back, or start in a new folder"
            raise ModelFileError(what, where=self.path, fix=fix)

    def record_environment(self, environment: Mapping[str, Any]) -> list[str]:
        """Write environment.json at the run's start; at a resume, note under "resumed_in" an
        environment that differs, and warn: its numbers may differ in their last digits.

        Returns:
            What differs from the environment before, as ``packages.torch: "2.13.0" → "2.14.0"``;
            empty if nothing does.
        """
        path, now = self.path / "environment.json", json.loads(canonical_json(environment))
        if (record := read_json(path)) is None:
            write_atomic(path, canonical_json(now))
            return []
        stored = as_environment(record, path)
        later = stored.get("resumed_in", [])
        last = (
            later[-1]
            if later
            else {key: value for key, value in stored.items() if key != "resumed_in"}
        )
        changes = described(last, now)
        if changes:
            lines = "".join(f"\n    {line}" for line in changes)
            _LOG.warning("this run goes on in another environment:%s", in_lines(lines))
            write_atomic(path, canonical_json({**stored, "resumed_in": [*later, now]}))
        return changes
