"""How an SQLite file is opened, also one in a folder that cannot be written.

A database with a write-ahead log wants to make an index beside it even for reading. Where that
cannot be, a file without a log is read as one that nobody changes, and one with a log as a copy.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path

_NO_ROOM_BESIDE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}


def connect(path: Path, *, readonly: bool, timeout: float) -> sqlite3.Connection:
    """A connection to the file, made if it is not there (not with `readonly`).

    Raises:
        sqlite3.Error: it cannot be opened.
        OSError: it can only be read as a copy, and cannot be copied.
    """
    if not readonly:
        return _opened(path, "mode=rwc", timeout)
    try:
        return _usable(_opened(path, "mode=ro", timeout))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _NO_ROOM_BESIDE or not path.exists():
            raise
    log = log_of(path)
    if not log.exists() or not log.stat().st_size:
        return _usable(_opened(path, "mode=ro&immutable=1", timeout))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        shutil.copyfile(log, log_of(copy))
        # What is open stays readable when its name is gone.
        return _usable(_opened(copy, "mode=ro", timeout))


def _opened(path: Path, mode: str, timeout: float) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?{mode}"
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)


def _usable(db: sqlite3.Connection) -> sqlite3.Connection:
    """The connection, once it has opened its files."""
    try:
        db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except BaseException:
        db.close()
        raise
    return db


def log_of(path: Path) -> Path:
    """The write-ahead log beside a database."""
    return path.with_name(f"{path.name}-wal")
