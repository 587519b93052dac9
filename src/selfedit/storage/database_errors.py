"""SQLite's errors in this project's words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from selfedit.errors import RunFolderError, SelfEditError, StorageFailed
from selfedit.storage.files import storage_error, storage_full, try_to_write

# What SQLite says of any write that failed but for want of room, which is FULL where it is ENOSPC.
_FAILED_WRITES = {
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}


def explained(error: sqlite3.Error, path: Path, noun: str) -> SelfEditError:
    """What an error with a code of SQLite's means to the user.

    Args:
        error: what SQLite raised.
        path: the file.
        noun: what the file is called in messages.
    """
    code = error.sqlite_errorcode
    if code == sqlite3.SQLITE_FULL:
        return storage_full(path)
    if code in _FAILED_WRITES:
        return _failed_write(path)
    if code in (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE):
        what = f"a row is in the {noun} already, so nothing of this call was stored ({error})"
        return RunFolderError(
            what, where=path, fix=f"ask the {noun} what is done before doing it; this is a bug"
        )
    if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return RunFolderError(
            f"another process holds the {noun}", where=path, fix="end it, then start this one again"
        )
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(str(error), path, noun)
    fix = "check that the folder is there, can be written, and is not on a network file system"
    return RunFolderError(f"the {noun} cannot be used: {error}", where=path, fix=fix)


def _failed_write(path: Path) -> SelfEditError:
    """SQLite does not say why a write failed: no room within a limit (EFBIG, EDQUOT), or the disk.
    Another write beside the file shows it.
    """
    try:
        try_to_write(path.parent, beyond=path)
    except OSError as error:
        if (explained := storage_error(error, path)) is not None:
            return explained
    fix = "look at the system's log, then start the same command again"
    return StorageFailed("a write to the disk failed", where=path, fix=fix)


def damaged(verdict: str, path: Path, noun: str) -> RunFolderError:
    """The error for a file whose content is not what was stored; `verdict` says how that shows."""
    fix = (
        f"restore it from a copy, save what is left with `sqlite3 {path.name} .recover`, or start"
        " in a new folder"
    )
    return RunFolderError(f"the {noun} is damaged or not a {noun}: {verdict}", where=path, fix=fix)


def lost(what: str, path: Path, noun: str) -> RunFolderError:
    """The error for a file that is gone or empty though it was there."""
    fix = (
        f"put the {noun} back, with {path.name}-wal if that is beside it, or start in a new folder"
    )
    return RunFolderError(f"the {noun} {what}", where=path, fix=fix)


def unreadable(error: OSError, path: Path, noun: str) -> RunFolderError:
    """The error for a file in a folder that cannot be written, of which no copy can be made."""
    what = f"the {noun} can only be read as a copy, which cannot be made: {error.strerror}"
    fix = "make the folder writable, or set TMPDIR to a folder with room for the copy"
    return RunFolderError(what, where=path, fix=fix)
