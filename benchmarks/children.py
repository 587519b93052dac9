"""The contestants' processes from outside: started, asked, stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfedit import errors
from selfedit.errors import Unavailable

CHECKOUT = Path(__file__).resolve().parents[1]


class Child:
    """One contestant's process.

    Args:
        log: file that takes what the process writes to stderr.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=_environment(),
                text=True,
                encoding="utf-8",
            )

    def send(self, do: str, **request: Any) -> None:
        """Ask for something."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._died() from error

    def answer(self) -> dict[str, Any]:
        """The answer to what was asked.

        Raises:
            Unavailable: the process died.
            SelfEditError: what the process raised.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        answer = json.loads(line)
        if "error" in answer:
            kind = getattr(errors, answer["error"])
            raise kind(answer["what"], where=answer["where"], fix=answer["fix"])
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _died(self) -> Unavailable:
        fix = (
            "see the end of that file; short memory is the usual cause: measure fewer adapters at"
            " once"
        )
        return Unavailable("a contestant's process died", where=self._log, fix=fix)


def _environment() -> dict[str, str]:
    """This process's environment, in which the benchmarks of this checkout can be imported."""
    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@contextmanager
def children(log: Path, count: int, **load: Any) -> Iterator[list[Child]]:
    """``count`` processes that have loaded the model the same way."""
    made: list[Child] = []
    try:
        made.extend(Child(log) for _ in range(count))
        all_at_once(made, "load", [load] * count)
        yield made
    finally:
        for child in made:
            child.close()


def all_at_once(
    of: Sequence[Child], do: str, requests: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Ask every process and wait for all answers."""
    for child, request in zip(of, requests, strict=True):
        child.send(do, **request)
    return [child.answer() for child in of]
