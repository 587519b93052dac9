"""The process that parses one document: ``python -m selfedit.tasks.knowledge.readers.child MODULE``
reads the file from its standard input and writes one JSON object.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from selfedit.tasks.knowledge.readers.extracted import CannotRead

MAX_MEMORY = 3 * 2**30
MAX_CPU_SECONDS = 900
_DEEPEST = 5000  # a page may nest its elements deeper than Python's own limit of calls
_REFUSED = ("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.system", "os.fork", "pty.")


def parse_standard_input() -> int:
    """Parse, and say what came out or why nothing did."""
    reader = importlib.import_module(f"selfedit.tasks.knowledge.readers.{sys.argv[1]}")
    data = sys.stdin.buffer.read()
    bound_process()
    try:
        extracted = reader.markdown(data)
        reply: dict[str, Any] = {"text": extracted.text, "notes": list(extracted.notes)}
    except CannotRead as error:
        reply = {"error": error.reason, "fix": error.fix}
    except MemoryError:
        reply = {"error": f"it takes more than {MAX_MEMORY >> 30} GiB of memory", "fix": "split it"}
    except Exception as error:  # a parser's own bug is a failure of this one document
        reply = {"error": f"it is damaged: {type(error).__name__}: {str(error)[:200]}", "fix": None}
    sys.stdout.buffer.write(json.dumps(reply).encode())
    return 0


def bound_process() -> None:
    """Bounds on memory and time; from here on nothing is connected to, started or written."""
    sys.setrecursionlimit(_DEEPEST)
    sys.addaudithook(_refuse_document)
    try:
        import resource
    except ImportError:  # Windows: the time that the parent waits is the only bound
        return
    limits = {
        resource.RLIMIT_AS: MAX_MEMORY,
        resource.RLIMIT_CPU: MAX_CPU_SECONDS,
        resource.RLIMIT_FSIZE: 0,  # of files; what is written to the parent's pipe is none
    }
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard < 0 else min(most, hard), hard))


def _refuse_document(event: str, args: tuple[Any, ...]) -> None:
    if event.startswith(_REFUSED):
        raise PermissionError(f"a document's reader may not do this: {event}")


if __name__ == "__main__":
    sys.exit(parse_standard_input())
