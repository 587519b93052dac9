"""Which files a library has read, so that the next update reads only what has changed since.

A file is the same where its size, its times and its place on the disk are: a copy laid over it, or
a change within its length, changes one of them.
"""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import BaseModel

from selfedit._version import __version__
from selfedit.documents.library_state import is_library, read_state
from selfedit.storage.bounded import Unreadable, decoded, json_value
from selfedit.storage.files import canonical_json, write_atomic

FILE = "files.json"
_SETTLED = 2 * 10**9
"""Nanoseconds a file has to be old: what is written in one tick of a clock has one time."""

Stamp = tuple[int, int, int, int]
"""Size, time of its content, time of its entry, and inode."""


class _Notes(BaseModel):
    """What ``files.json`` holds; another version of this program may cut documents otherwise."""

    selfedit: str = __version__
    files: dict[str, tuple[Stamp, str]] = {}


class KnownFiles:
    """The files of a library's documents, as they were when they were read last.

    Args:
        library: its folder, which need not be there.
    """

    def __init__(self, library: Path) -> None:
        self._path = library / FILE
        known = is_library(library)
        self._learned = {e.version for e in read_state(library).documents} if known else set[str]()
        self._before = _read_notes(self._path).files if known else {}
        self._now: dict[str, tuple[Stamp, str]] = {}

    def version(self, file: Path) -> str | None:
        """The version of the document in a file that need not be read; None for one that must."""
        noted = self._before.get(str(file.absolute()))
        if noted is None or noted[0] != stamp_of(file) or noted[1] not in self._learned:
            return None
        self._now[str(file.absolute())] = noted
        return noted[1]

    def note(self, file: Path, stamp: Stamp, version: str) -> None:
        """Remember a file that was read; ``stamp`` is `stamp_of` it from before."""
        if time.time_ns() - max(stamp[1:3]) > _SETTLED:
            self._now[str(file.absolute())] = (stamp, version)

    def save(self) -> None:
        """Write what there is now, if it differs."""
        if self._now != self._before:
            write_atomic(
                self._path, canonical_json(_Notes(files=self._now).model_dump(), indent=None)
            )


def stamp_of(file: Path) -> Stamp:
    """What a file is known by."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _read_notes(path: Path) -> _Notes:
    """What was noted. A file that is damaged or of another version only means that all is read."""
    try:
        notes = _Notes.model_validate(json_value(decoded(path.read_bytes())))
    except (OSError, Unreadable, ValueError):
        return _Notes()
    return notes if notes.selfedit == __version__ else _Notes()
