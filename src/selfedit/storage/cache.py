"""Where what can be made again is kept: selfedit's cache folder of this user, and its parts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from selfedit.errors import UsageError


def cache_dir() -> Path:
    """selfedit's cache: ``SELFEDIT_CACHE`` itself, else ``selfedit`` in the user's cache folder of
    this system.

    Raises:
        UsageError: this user has no folder of their own, and none is named.
    """
    if chosen := os.environ.get("SELFEDIT_CACHE"):
        return expanded(chosen).absolute()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return expanded(xdg).absolute() / "selfedit"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local or _home() / "AppData" / "Local") / "selfedit" / "Cache"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "selfedit"
    return _home() / ".cache" / "selfedit"


def expanded(path: str) -> Path:
    """A path as people type it, ``~`` and ``~user`` being home folders.

    Raises:
        UsageError: this user, or the one that is named, has no home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        fix = "write the whole path"
        raise UsageError("there is no such user's home folder", where=path, fix=fix) from error


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:  # HOME is not set, and the system knows nothing of this user
        what = "there is no place for selfedit's cache: this user has no home folder"
        fix = "set SELFEDIT_CACHE to a folder you may write to"
        raise UsageError(what, where="HOME", fix=fix) from error
