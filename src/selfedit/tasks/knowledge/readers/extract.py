"""A document's text, parsed in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from selfedit.errors import DocumentError, Unavailable
from selfedit.storage.neutral import in_line
from selfedit.tasks.knowledge.readers.extracted import Extracted
from selfedit.tasks.knowledge.readers.kinds import EXTRA, KINDS, Kind

MAX_FILE = 2**28
MAX_SECONDS = 900.0
_SAY_EVERY = 15.0
_KEPT = 64  # texts of one run that are not parsed again
_LOG = logging.getLogger(__name__)


def extract(path: Path) -> Extracted:
    """The text of a file whose ending is one of `KINDS`.

    Raises:
        DocumentError: it is damaged, locked, too large, or holds no text.
        Unavailable: its reader is not installed.
    """
    kind = KINDS[path.suffix.lower()]
    if missing := [name for name in kind.packages if importlib.util.find_spec(name) is None]:
        raise Unavailable(
            f"the reader of {kind.noun} is not installed ({', '.join(missing)})",
            where=in_line(path),
            fix=EXTRA,
        )
    try:
        facts = path.stat()
    except OSError as error:
        what = f"the file cannot be opened: {error.strerror}"
        raise DocumentError(what, where=in_line(path), fix="give a readable file") from error
    if facts.st_size > MAX_FILE:
        raise DocumentError(
            f"the file has {facts.st_size:,} bytes, more than {MAX_FILE:,}",
            where=in_line(path),
            fix="split it into several files",
        )
    return _parsed(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(_KEPT)
def _parsed(path: Path, size: int, changed: int) -> Extracted:
    """A file's text, kept while its size and time stay the same."""
    kind = KINDS[path.suffix.lower()]
    try:
        reply = json.loads(_run(path, kind))
    except ValueError:
        raise _refused(path, kind, "its parser broke off", None) from None
    if "error" in reply:
        raise _refused(path, kind, reply["error"], reply["fix"])
    if not reply["text"].strip():
        raise _refused(path, kind, "there is no text in it", "give a file with text in it")
    for note in reply["notes"]:
        _LOG.warning("%s: %s", in_line(path), in_line(note))
    return Extracted(reply["text"], tuple(reply["notes"]))


def _run(path: Path, kind: Kind) -> bytes:
    """What the process that parses a file wrote."""
    module = "selfedit.tasks.knowledge.readers.child"
    command = [sys.executable, "-P", "-m", module, kind.module]
    # No key and no setting of ours reaches the parser, only where Python finds its packages.
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUTF8": "1"}
    for name in ("SYSTEMROOT", "LD_LIBRARY_PATH"):
        if name in os.environ:
            environment[name] = os.environ[name]
    waited = 0.0
    with (
        path.open("rb") as file,
        subprocess.Popen(
            command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        ) as process,
    ):
        try:
            while True:
                try:
                    return process.communicate(timeout=_SAY_EVERY)[0]
                except subprocess.TimeoutExpired:
                    waited += _SAY_EVERY
                    if waited >= MAX_SECONDS:
                        reason = f"it takes more than {MAX_SECONDS:.0f} seconds"
                        raise _refused(path, kind, reason, "split it") from None
                    _LOG.warning("reading %s: %.0f s so far", in_line(path), waited)
        finally:
            process.kill()


def _refused(path: Path, kind: Kind, reason: str, fix: str | None) -> DocumentError:
    what = f"{kind.noun} cannot be read: {in_line(reason, 300)}"
    return DocumentError(what[0].upper() + what[1:], where=in_line(path), fix=fix or "save it anew")
