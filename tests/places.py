"""Commands of selfedit in a forked child that may do less than this process: without a superuser's
rights, with folders mounted read-only, on a terminal that speaks another encoding.
"""

from __future__ import annotations

import ctypes
import io
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_CANNOT = 77
_CAPABILITIES_3 = 0x20080522
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_CLONE_NEWNS = 0x20000


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


def in_a_child(
    words: Sequence[object],
    *,
    mounted: Path | None = None,
    encoding: str = "utf-8",
    environment: Mapping[str, str | None] | None = None,
) -> Done | None:
    """A command in a child without special rights; None where the system does not let us mount.

    Args:
        words: after ``selfedit``.
        mounted: a folder that is mounted read-only for the child.
        encoding: of its stdout and stderr.
        environment: variables that are other in the child; None removes one.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of forks beside threads
            child = os.fork()
        if child == 0:
            _live([str(word) for word in words], mounted, encoding, environment or {}, out, err)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(encoding))
    return None if code == _CANNOT else Done(code, *texts)


def _live(words, mounted, encoding, environment, out, err) -> None:
    """The child's life; it ends here."""
    code = 1
    try:
        sys.stdout, sys.stderr = (io.TextIOWrapper(s, encoding=encoding) for s in (out, err))
        for name, value in environment.items():
            os.environ.pop(name, None)
            os.environ |= {} if value is None else {name: value}
        if mounted is not None and not _mount_readonly(mounted):
            os._exit(_CANNOT)
        _give_up_rights()
        from selfedit.cli import main

        code = main(words)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _mount_readonly(folder: Path) -> bool:
    system = ctypes.CDLL(None, use_errno=True)
    path = os.fsencode(folder)
    return not (
        system.unshare(_CLONE_NEWNS)
        or system.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
        or system.mount(path, path, None, _MS_BIND, None)
        or system.mount(b"none", path, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY, None)
    )


def _give_up_rights() -> None:
    """From here on permission bits hold for this process, also as the superuser."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")
