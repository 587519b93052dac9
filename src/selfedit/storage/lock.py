"""One process at a time in a run's folder."""

from __future__ import annotations

import errno
import os
import sys
import weakref
from pathlib import Path

from selfedit.errors import RunFolderError

if sys.platform == "win32":
    raise ImportError("a run's folder needs POSIX file locks: on Windows, run selfedit in WSL")

import fcntl

_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


class FolderLock:
    """Holds a folder for this process until `release`, or until the process ends in whatever way.

    The system itself drops the lock when the process is gone, so a crash leaves nothing to clean up. The file holds the
    owner's process id, only to be named in the error message.

    Raises:
        RunFolderError: if another process, or this one, holds it already.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            owner = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            self.release()
            raise _refused(error, path.parent, owner) from error
        _held.add(self)

    def release(self) -> None:
        """Let the folder go; may be called again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _refused(error: OSError, folder: Path, owner: str) -> Exception:
    if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
        who = f"process {owner}" if owner.isdigit() else "another process"
        fix = f"wait until it has ended, or end it (kill -INT {owner or 'PID'}); reading the folder is always possible"
        return RunFolderError(f"{who} is running in this folder", where=folder, fix=fix)
    if error.errno in (errno.ENOLCK, errno.ENOTSUP):
        fix = "put the run's folder on a local disk"
        return RunFolderError("the file system of this folder has no file locks", where=folder, fix=fix)
    return error


def _let_go_in_child() -> None:
    # A forked child (a data loader, say) shares the lock: it would keep the folder after its parent's death.
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_let_go_in_child)
