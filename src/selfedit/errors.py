"""Every error selfedit raises on purpose.

    SelfEditError              exit code 1, never raised itself
    ├── UsageError             2   wrong usage or settings
    │   └── SettingsChanged    2   a run was resumed with other settings
    ├── DataError              3   wrong or missing data
    │   ├── DocumentError      3   a document cannot be read as text
    │   ├── FormatError        3   a data file has the wrong form; says file, line or record
    │   ├── ModelFileError     3   a model's or adapter's files are altered, cut short, another kind
    │   └── RunFolderError     3   not a run's folder, another version's, or open elsewhere
    ├── Unavailable            4   a dependency, server, registry, memory or disk is not there
    │   ├── ModelUnavailable   4   a model could not be fetched
    │   ├── StorageFull        4   the disk is full; what was written so far is safe
    │   └── StorageFailed      4   the disk reports an error, or may not be written
    └── Interrupted            130 stopped by the user; the same command goes on

A message has three parts: what was wrong, where, and what to do about it.
"""

from __future__ import annotations

from typing import Any


class SelfEditError(Exception):
    """The root of the tree: ``except SelfEditError`` catches everything selfedit raises on purpose.

    Args:
        what: what was wrong, as one sentence without a full stop.
        where: the file, line, record or setting it was found at.
        fix: what the user can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: object = None, fix: str | None = None) -> None:
        super().__init__(what, where, fix)
        self.what = what
        self.where = None if where is None else str(where)
        self.fix = fix

    def __reduce__(self) -> tuple[Any, ...]:  # a worker process hands its errors over by pickle
        return _rebuilt, (type(self), self.what, self.where, self.fix)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  to fix: {self.fix}")
        return "\n".join(lines)


class UsageError(SelfEditError):
    """Wrong usage or settings."""

    exit_code = 2


class SettingsChanged(UsageError):
    """A run was started again with settings other than the frozen ones."""


class DataError(SelfEditError):
    """Wrong or missing data."""

    exit_code = 3


class DocumentError(DataError):
    """A document cannot be read as text."""


class FormatError(DataError):
    """A data file has the wrong form."""


class ModelFileError(DataError):
    """The files of a model or an adapter are altered, cut short or of another kind."""


class RunFolderError(DataError):
    """A folder is not a run's folder, belongs to another version, or is open in another process."""


class Unavailable(SelfEditError):
    """A dependency, a server, the registry or disk space is not there."""

    exit_code = 4


class ModelUnavailable(Unavailable):
    """A model could not be fetched."""


class StorageFull(Unavailable):
    """The disk is full; what was written so far is safe."""


class StorageFailed(Unavailable):
    """The disk reports an error, is mounted read-only, or may not be written; what was written so
    far is safe.
    """


class Interrupted(SelfEditError):
    """Stopped by the user; the same command goes on where it stopped."""

    exit_code = 130


def _rebuilt(
    kind: type[SelfEditError], what: str, where: str | None, fix: str | None
) -> SelfEditError:
    return kind(what, where=where, fix=fix)


def first_line(error: BaseException) -> str:
    """What an error of others says, as much as fits a message of ours: its first line, or its
    kind.
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
