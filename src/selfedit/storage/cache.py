"""Where what can be made again is kept: selfedit's cache folder of this user, and its parts."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """selfedit's cache: ``SELFEDIT_CACHE`` itself, else ``selfedit`` in the user's cache folder of
    this system.
    """
    if chosen := os.environ.get("SELFEDIT_CACHE"):
        return Path(chosen).expanduser().absolute()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg).expanduser().absolute() / "selfedit"
    if sys.platform == "win32":
        return (
            Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
            / "selfedit"
            / "Cache"
        )
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "selfedit"
    return Path.home() / ".cache" / "selfedit"
