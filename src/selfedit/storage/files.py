"""Files that are either whole or not there, and hashes of them."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from selfedit.errors import StorageFailed, StorageFull

JsonObject = dict[str, Any]
"""An object of a JSON file that programs of others read too: names to plain data."""

# EFBIG is a limit on file size (ulimit -f), EDQUOT a user's quota: to the user all three mean "no
# room".
_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_DENIED = (
    "permission denied",
    "give a file or folder that you may read and write, or set the right to",
)
_FAILED = {
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EIO: (
        "the disk reports an error (input/output error)",
        "look at the system's log; go on with a copy of the folder on another disk",
    ),
    errno.EROFS: (
        "the file system is mounted read-only",
        "mount it writable, or give a folder on another one",
    ),
}
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_PROBE = 2**16
_TEMPORARY = ".selfedit-*.tmp"


def storage_full(where: object) -> StorageFull:
    """The error for a write that found no room."""
    return StorageFull(
        "no room left on the disk (full, over a quota, or over a limit on file size)",
        where=where,
        fix=(
            "everything finished before this is stored and whole: free some space, then start the"
            " same command again"
        ),
    )


def storage_error(error: BaseException, where: object) -> StorageFull | StorageFailed | None:
    """What a failed write means: no room, a disk that fails, one that is mounted read-only, or no
    right to write; None for everything else.
    """
    number = _errno(error)
    if number in _FULL:
        return storage_full(where)
    if number not in _FAILED:
        return None
    what, fix = _FAILED[number]
    return StorageFailed(what, where=where, fix=fix)


def _errno(error: BaseException) -> int | None:
    """The system's number of an error, also of one that came through safetensors."""
    if isinstance(error, OSError):
        return error.errno
    number = _OS_ERROR.search(str(error)) if isinstance(error, SafetensorError) else None
    return int(number[1]) if number else None


@contextmanager
def storage_errors(where: object) -> Iterator[None]:
    """Turn an error of a write that means "no room" into `StorageFull`, one of the disk itself or
    for want of the right to write into `StorageFailed`; let every other one pass.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if (explained := storage_error(error, where)) is not None:
            raise explained from error
        raise


def try_to_write(folder: Path, *, beyond: Path) -> None:
    """Write a file that is a little longer than `beyond`, without filling the disk, and remove it.

    Raises:
        OSError: why it cannot be written.
    """
    length = max(file.stat().st_size for file in beyond.parent.glob(f"{beyond.name}*"))
    temporary = _temporary(folder / beyond.name)
    try:
        with temporary.open("wb") as file:
            file.seek(length)  # nothing is stored for what is passed over
            file.write(b"\0" * _PROBE)
            file.flush()
            os.fsync(file.fileno())
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash at any moment, finds the old content or the new,
    never a part.

    Raises:
        StorageFull: if there is no room; the old content is untouched and nothing is left behind.
        StorageFailed: if the disk fails or is mounted read-only; likewise.
    """
    temporary = _temporary(path)
    with storage_errors(path):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)


@contextmanager
def folder_atomic(path: Path) -> Iterator[Path]:
    """Fill a folder so that it appears under its name only when it is whole.

    ``with folder_atomic(run.policy(2)) as new: adapter.save(new)``. What stood at `path` before
    (the leftover of an interrupted run) is replaced. If the block raises, `path` is untouched. Its
    files may be read by whom the umask lets read the folder.

    Raises:
        StorageFull: if there is no room.
    """
    temporary, old = _temporary(path), _temporary(path)
    with storage_errors(path):
        try:
            temporary.mkdir(parents=True)
            # What a new file of ours may be read by: safetensors writes for the owner's eyes only.
            readable = temporary.stat().st_mode & 0o666
            yield temporary
            for file in sorted(temporary.rglob("*")):
                if file.is_file():
                    file.chmod(readable | file.stat().st_mode & 0o111)
                _sync(file)
            if path.exists():
                path.rename(old)
            temporary.rename(path)
        finally:
            _remove(temporary)
            _remove(old)
        _sync_folder(path.parent)


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders of a killed process in and below `folder`."""
    for leftover in sorted(folder.rglob(_TEMPORARY)):
        _remove(leftover)


def remove(path: Path) -> None:
    """Remove a file or a folder that is no longer needed, if it is there."""
    _remove(path)


def is_temporary(path: Path) -> bool:
    """Whether this is one of our own unfinished files."""
    return path.match(_TEMPORARY)


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_folder(path: Path, *, but: str = "") -> str:
    """The SHA-256 over every file of a folder: relative names and contents, in sorted order;
    without the one named ``but``, which is told of the others and may be written anew.
    """
    files = sorted(
        (file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file()
    )
    return fingerprint([[name, hash_file(file)] for name, file in files if name != but])


def fingerprint(value: Any) -> str:
    """The SHA-256 of plain data through its canonical JSON: equal data, equal hash."""
    return hashlib.sha256(canonical_json(value, indent=None)).hexdigest()


def canonical_json(value: Any, *, indent: int | None = 2) -> bytes:
    """The one JSON text of plain data: equal data gives equal bytes, whatever order it was put
    together in.

    Keys are sorted, floats written with ``repr`` (shortest text that reads back exactly), NaN and
    the infinities become ``null`` (JSON has no name for them), -0.0 becomes 0.0 (SQLite does not
    keep that sign), text is escaped to ASCII (lone surrogates survive), a newline ends it.
    Dataclasses, mappings, sequences, enums, paths and NumPy scalars are taken; anything else is a
    `TypeError`.
    """
    return (
        json.dumps(_plain(value), sort_keys=True, indent=indent, allow_nan=False) + "\n"
    ).encode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return (
            float(value) + 0.0 if math.isfinite(value) else None
        )  # + 0.0 takes the sign off a zero
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        return _plain_mapping(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    item = getattr(value, "item", None)
    if callable(
        item
    ):  # a NumPy or torch scalar; an array of more than one element refuses by itself
        return _plain(item())
    raise TypeError(f"{type(value).__name__} is not plain data: {value!r:.80}")


def _plain_mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    plain = {str(_plain(key)): _plain(item) for key, item in value.items()}
    if len(plain) != len(value):
        raise TypeError(f"two keys have the same text: {sorted(map(repr, value))}")
    return plain


def _temporary(path: Path) -> Path:
    """A name beside `path` that no other writer, in this process or another, has."""
    return path.parent / _TEMPORARY.replace("*", f"{path.name}-{secrets.token_hex(4)}")


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    if path.is_dir():
        _sync_folder(path)
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Make a rename in `path` survive a power cut, where the system can (not every file system lets
    a folder sync).
    """
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
