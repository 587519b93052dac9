"""A list of a folder's files with their sizes and SHA-256, written once and checked at every load.

The check is quick: a file whose size and time stamp are the recorded ones is trusted, any other is
hashed. So an altered or half-copied file is found at the first load after it changed, and an
untouched one costs one ``stat``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from stat import S_ISREG

from selfedit.errors import ModelFileError
from selfedit.storage.bounded import BoundedReader

NAME = "selfedit-manifest.json"


@dataclass(frozen=True)
class FileRecord:
    """One file as it was when the manifest was written: bytes, nanoseconds since the epoch, SHA-256
    in hex.
    """

    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The recorded files of a folder, by path relative to it, and a line saying what they were made
    from.
    """

    source: str
    files: dict[str, FileRecord]


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(folder: Path, source: str) -> Manifest:
    """Record every file of ``folder`` as it is now."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    manifest = Manifest(
        source, {path.relative_to(folder).as_posix(): _manifest_entry(path) for path in paths}
    )
    _save(folder, manifest)
    return manifest


def read(folder: Path, *, fix: str) -> Manifest:
    """The manifest of ``folder``.

    Raises:
        ModelFileError: it is missing or is no manifest; ``fix`` is the remedy to name.
    """
    path = folder / NAME
    if not path.exists():
        raise ModelFileError("The model's list of files is missing", where=path, fix=fix)
    reader = BoundedReader(
        "The model's list of files", error=ModelFileError, fix=fix, max_bytes=2**24
    )
    manifest = reader.shape(reader.json(path), Manifest, path)
    for name in manifest.files:
        if Path(name).is_absolute() or ".." in Path(name).parts or not name.isprintable():
            raise reader.refused(f"it names a file outside the folder, {name[:80]!r}", path)
    return manifest


def check(folder: Path, *, fix: str, full: bool = False) -> Manifest:
    """Compare the files of ``folder`` with its manifest; ``full`` hashes every file, else only
    those that seem touched.

    Raises:
        ModelFileError: names the first file that is missing, cut short or altered, and ``fix`` as
            the remedy.
    """
    manifest = read(folder, fix=fix)
    checked = {
        name: _check_file(folder / name, record, full, fix)
        for name, record in manifest.files.items()
    }
    if checked == manifest.files:
        return manifest
    fresh = Manifest(manifest.source, checked)
    # Only time stamps differ (a copied cache): record them so that the next load need not hash
    # again. A read-only cache hashes each time.
    with contextlib.suppress(OSError):
        _save(folder, fresh)
    return fresh


def _check_file(path: Path, record: FileRecord, full: bool, fix: str) -> FileRecord:
    try:
        stat = path.stat()
    except OSError:
        raise ModelFileError("A file of the model is missing", where=path, fix=fix) from None
    if not S_ISREG(stat.st_mode):  # a pipe would be read for ever
        raise ModelFileError("A file of the model is no regular file", where=path, fix=fix)
    if stat.st_size != record.size:
        what = (
            f"A file of the model has {stat.st_size:,} bytes instead of {record.size:,}: it was cut"
            " short or altered"
        )
        raise ModelFileError(what, where=path, fix=fix)
    if not full and stat.st_mtime_ns == record.mtime_ns:
        return record
    if digest(path) != record.sha256:
        raise ModelFileError(
            "A file of the model was altered: its SHA-256 is another one", where=path, fix=fix
        )
    return replace(record, mtime_ns=stat.st_mtime_ns)


def _manifest_entry(path: Path) -> FileRecord:
    stat = path.stat()
    return FileRecord(stat.st_size, stat.st_mtime_ns, digest(path))


def _save(folder: Path, manifest: Manifest) -> None:
    partial = folder / f"{NAME}.part"
    partial.write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / NAME)
