"""Locks between processes: one process at a time in a run's folder, one that fetches a model."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from selfedit.errors import RunFolderError

if sys.platform == "win32":
    raise ImportError("a run's folder needs POSIX file locks: on Windows, run selfedit in WSL")

POLL_SECONDS = 0.5
"""How often a waiting process says that it waits."""


class FolderLock:
    """Holds a folder for this process until `release`, or until the process ends in whatever way.

    The system itself drops the lock when the process is gone, so a crash leaves nothing to clean
    up, and a forked child (a data loader, say) has no part in it. The file holds the owner's
    process id, only to be named in the error message.

    Raises:
        RunFolderError: if another process, or this one, holds it already.
    """

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(
            path,
            blocking=False,
            thread_local=False,
            # A lock that is a file's mere existence would survive a crash: no lock is better than
            # that one.
            fallback_to_soft=False,
            on_acquired=_write_owner,
        )
        try:
            self._lock.acquire()
        except Timeout:
            raise _busy(path) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            fix = "put the run's folder on a local disk"
            what = "the file system of this folder has no file locks"
            raise RunFolderError(what, where=path.parent, fix=fix) from error

    def release(self) -> None:
        """Let the folder go; may be called again."""
        self._lock.release()


@contextmanager
def wait_for_lock(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock in the file ``path``; ``waiting`` is called while another process does."""
    lock = FileLock(path, timeout=POLL_SECONDS)
    while True:
        try:
            lock.acquire()
            break
        except Timeout:
            waiting()
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether some process holds the lock in a file, found out without touching it: by the system's
    list of locks (Linux), elsewhere by whether the owner that it names still lives.
    """
    try:
        number, owner = path.stat().st_ino, path.read_text(encoding="ascii").strip()
        listed = Path("/proc/locks")
        if not listed.exists():
            os.kill(int(owner), 0)
            return True
        locks = [line.split() for line in listed.read_text(encoding="ascii").splitlines()]
    except PermissionError:  # it lives, and is somebody else's
        return True
    except (OSError, ValueError):
        return False
    return any(lock[5].endswith(f":{number}") for lock in locks if len(lock) > 5)


def _write_owner(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _busy(path: Path) -> RunFolderError:
    owner = path.read_text(encoding="ascii", errors="replace").strip()
    holder = f"process {owner}" if owner.isdigit() else "another process"
    stop = f"kill -INT {owner or 'PID'}"
    fix = f"wait until it has ended, or end it ({stop}); reading the folder is always possible"
    return RunFolderError(f"{holder} is running in this folder", where=path.parent, fix=fix)
