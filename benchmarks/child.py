"""A contestant's process, ``python -m benchmarks.child``: requests on stdin, answers on stdout, a
JSON a line.

Each contestant has a process of its own: this library changes a loaded model's modules, and memory
peaks must not mix.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from selfedit.errors import SelfEditError


def main() -> None:
    """Answer requests until the other side is gone. The first one makes the contestant."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is asked to stop, and stops us
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    contestant: Any = None
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        name = request.pop("do")
        try:
            from benchmarks.contestants import ACTIONS, Contestant

            if name == "load":
                contestant, answer = Contestant(**request), {}
            else:
                answer = ACTIONS[name](contestant, **request)
        except SelfEditError as error:
            answer = {
                "error": type(error).__name__,
                "what": error.what,
                "where": error.where,
                "fix": error.fix,
            }
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
