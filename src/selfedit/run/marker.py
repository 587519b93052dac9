"""What makes a folder a run's: its ``run.json``, which says of what kind, in which form, and
whether the ledger has been made.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from selfedit.errors import RunFolderError
from selfedit.storage.bounded import BoundedReader, is_there
from selfedit.storage.files import canonical_json, is_temporary, write_atomic

FORMAT = 1
"""The form of a run's folder."""
LOCK = ".lock"
_NAME, _PROGRAM = "run.json", "selfedit"
_MARKER_READER = BoundedReader(
    "the file", error=RunFolderError, fix="restore it from a copy, or start in a new folder"
)


@dataclass(frozen=True)
class Marker:
    """What ``run.json`` says.

    Attributes:
        kind: what kind of run this is.
        ledger: whether the run's ledger has been made, so that a missing one is a lost one.
        format: the form of the folder.
        program: whose folder it is.
    """

    kind: str
    ledger: bool = False
    format: int = FORMAT
    program: str = _PROGRAM


def write_marker(folder: Path, marker: Marker) -> None:
    """Make the folder a run's."""
    write_atomic(folder / _NAME, canonical_json(asdict(marker)))


def is_run(folder: Path) -> bool:
    """Whether the folder has the file at all."""
    return (folder / _NAME).exists()


def not_there(path: Path, else_what: str) -> str:
    """What is wrong with a path that should be a run's: it is not there, or is something else."""
    return else_what if is_there(path) else "there is no such folder"


def refuse_foreign(path: Path, kind: str) -> None:
    """Refuse, before anything is written, a path with something else than a run of this kind."""
    if not path.exists():
        return
    if is_run(path):
        read_marker(path, kind)
        return
    if not path.is_dir():
        raise RunFolderError(
            "this is a file, not a run's folder", where=path, fix="give a new or empty folder"
        )
    foreign = sorted(
        entry.name for entry in path.iterdir() if entry.name != LOCK and not is_temporary(entry)
    )
    if foreign:
        what = f"the folder is not empty and not a run's: it holds {', '.join(foreign[:3])}"
        raise RunFolderError(
            what, where=path, fix="give a new or empty folder, or one a run was started in"
        )


def read_marker(path: Path, kind: str | None = None) -> Marker:
    """What the folder says of itself, its kind checked against the one that is asked for.

    Raises:
        RunFolderError: this is not a run's folder, or one of another form or kind.
    """
    marker = read_json(path / _NAME)
    if not isinstance(marker, dict) or marker.get("program") != _PROGRAM:
        fix = "give the folder a run was started in"
        raise RunFolderError(not_there(path, "this is not a run's folder"), where=path, fix=fix)
    actual, form = marker.get("kind"), marker.get("format")
    if form != FORMAT:
        fix = (
            "use the selfedit that made the run (environment.json names its version), or start in a"
            " new folder"
        )
        raise RunFolderError(
            f"the run's folder has form {form}, this selfedit reads {FORMAT}", where=path, fix=fix
        )
    if kind is not None and actual != kind:
        fix = "give the folder of a run of this kind, or a new one"
        raise RunFolderError(
            f"this is the folder of a run of kind {actual!r}, not {kind!r}", where=path, fix=fix
        )
    return Marker(str(actual), ledger=marker.get("ledger") is True)


class _Environment(BaseModel):
    model_config = ConfigDict(extra="allow")
    resumed_in: list[dict[str, Any]] = []


def as_environment(record: Any, path: Path) -> dict[str, Any]:
    """What ``environment.json`` holds, as the entries of the first start and under ``resumed_in``
    those of others.

    Raises:
        RunFolderError: it is none.
    """
    _MARKER_READER.shape(record, _Environment, path)
    return record


def read_json(path: Path) -> Any | None:
    """What a JSON file of the run's folder holds; None if it is not there.

    Raises:
        RunFolderError: it cannot be read.
    """
    return _MARKER_READER.json(path) if is_there(path) else None
