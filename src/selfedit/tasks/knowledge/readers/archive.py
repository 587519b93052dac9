"""Bounds on a ZIP archive (Word, PowerPoint, EPUB) before anything in it is unpacked."""

from __future__ import annotations

import io
import zipfile

from selfedit.tasks.knowledge.readers.extracted import CannotRead

MAX_UNPACKED = 2**29
MAX_ENTRIES = 20_000


def check_archive(data: bytes) -> zipfile.ZipFile:
    """The archive, if what it says it unpacks to is bounded.

    Raises:
        CannotRead: it is none, is locked, or would unpack to too much.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise CannotRead("it is damaged: no ZIP archive", "save it anew") from None
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES or sum(entry.file_size for entry in entries) > MAX_UNPACKED:
        raise CannotRead(
            f"it unpacks to more than {MAX_UNPACKED >> 20} MiB or {MAX_ENTRIES:,} files",
            "save it without its pictures, or split it",
        )
    if any(entry.flag_bits & 1 for entry in entries):
        raise CannotRead("it is locked with a password", "save a copy without one")
    return archive
