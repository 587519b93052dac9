"""Which bytes of a large database were checked before: they need not be read row by row again.

When every row of a file has passed its check, the SHA-256 of the file's bytes is kept in the user's
cache, under a hash of the file's path. The next time it is opened its bytes are hashed, a tenth of
the work; whatever has changed even one of them, every row is checked again.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from selfedit.errors import SelfEditError
from selfedit.storage.cache import cache_dir
from selfedit.storage.connection import log_of
from selfedit.storage.files import hash_file, write_atomic

SMALL = 2**23
"""Bytes up to which all rows are checked in less than a tenth of a second: nothing is kept."""


def bytes_hash(path: Path) -> str | None:
    """The hash of a database's bytes; None for a small one, and where its write-ahead log holds
    rows that the file does not.
    """
    try:
        log = log_of(path)
        if path.stat().st_size <= SMALL or (log.exists() and log.stat().st_size):
            return None
        return hash_file(path)
    except OSError:  # it is opened, and its error told, by SQLite
        return None


def is_checked(path: Path, digest: str) -> bool:
    """Whether these bytes of the file were checked before."""
    with suppress(OSError, ValueError, SelfEditError):
        return _record(path).read_text(encoding="ascii") == digest
    return False


def note_checked(path: Path, digest: str) -> None:
    """Keep that these bytes were checked; where nothing can be kept they are checked next time."""
    with suppress(OSError, SelfEditError):
        record = _record(path)
        record.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(record, digest.encode("ascii"))


def _record(path: Path) -> Path:
    name = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_dir() / "checked" / name
