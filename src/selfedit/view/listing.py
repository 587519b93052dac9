"""The runs below a folder: found by their ``run.json``, each known to clients by a hash of its
path, so that no path ever comes from them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfedit.documents.library_state import is_library
from selfedit.errors import RunFolderError, SelfEditError
from selfedit.results.results import Results
from selfedit.run.marker import LOCK, is_run, not_there, read_json, read_marker
from selfedit.run.settings import read_frozen
from selfedit.storage.lock import is_held

MOST_RUNS = 1000
"""Runs of a folder that are listed; and of folders ten times as many are looked into."""
_DEPTH = 4
_DOCUMENTS = "documents"


@dataclass(frozen=True)
class ViewedRun:
    """A run that can be looked at.

    Attributes:
        id: what clients call it.
        name: its path from the folder that is viewed.
        path: where it lies.
    """

    id: str
    name: str
    path: Path

    @property
    def finished(self) -> bool:
        """Whether it has results."""
        return (self.path / "results.json").exists()

    @property
    def state(self) -> str:
        """Finished, running (some process has its folder), or stopped."""
        if is_held(self.path / LOCK):
            return "running"
        return "finished" if self.finished else "stopped"


def viewed_runs(root: Path) -> dict[str, ViewedRun]:
    """Every run at a path or below it, by id, in the order of their names.

    Raises:
        RunFolderError: there is none.
    """
    runs: dict[str, ViewedRun] = {}
    # In the order of their names, which is that of the walk.
    for path in _run_folders(root):
        name = path.relative_to(root).as_posix()
        # Not the path itself: what a client sends is looked up, never joined to a folder.
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
        runs[digest] = ViewedRun(digest, root.resolve().name if name == "." else name, path)
        if len(runs) >= MOST_RUNS:
            break
    if not runs:
        fix = "give the folder of a run, of a library, or a folder that holds some"
        what = not_there(root, "there is no run here to look at")
        raise RunFolderError(what, where=root, fix=fix)
    return runs


def _run_folders(root: Path) -> Iterator[Path]:
    """Links are not followed: they lead out of the folder, or round in it."""
    looked = 0
    for folder, below, _ in os.walk(root):
        path, looked = Path(folder), looked + 1
        below.sort()
        if is_run(path):
            yield path
            # A run holds no other, but a library's documents are runs.
            below[:] = [_DOCUMENTS] if is_library(path) and _DOCUMENTS in below else []
        elif len(path.relative_to(root).parts) >= _DEPTH or looked > 10 * MOST_RUNS:
            below.clear()


def run_summary(viewed: ViewedRun) -> dict[str, Any]:
    """A run's line in the list: what its small files say; its ledger stays closed."""
    # What is wrong with one run is said in its line; the others are there.
    summary: dict[str, Any] = {"id": viewed.id, "name": viewed.name, "state": viewed.state}
    try:
        summary["kind"] = read_marker(viewed.path).kind
        settings = read_frozen(viewed.path / "config.toml")
        results = read_results(viewed.path)
        summary |= {"model": settings.get("model"), "seed": settings.get("seed")}
        rows = results.rows if results else ()
        summary["rows"] = [
            {"method": row.method, "accuracy": row.accuracy, "se": row.se, "n": row.n}
            for row in rows
        ]
        summary["changed"] = int((viewed.path / "ledger.sqlite").stat().st_mtime)
    except SelfEditError as error:
        summary["error"] = error.what
    except OSError as error:
        summary["error"] = error.strerror
    return summary


def read_results(path: Path) -> Results | None:
    """A run's results, their form checked; None where there are none yet."""
    stored = read_json(path / "results.json")
    return None if stored is None else Results.read(stored)
