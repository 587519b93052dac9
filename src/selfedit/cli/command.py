"""What this process was asked to do, and what every long verb needs around its work."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypedDict

from selfedit.storage.neutral import in_lines

if TYPE_CHECKING:
    from selfedit.run.interrupt import Interrupt
    from selfedit.run.progress import ProgressSink


class Watching(TypedDict):
    """How a verb's work is shown and stopped."""

    progress: ProgressSink
    interrupt: Interrupt


words: list[str] = []
"""The words after ``selfedit`` on the command line."""


def resume() -> str:
    """The command that goes on with what this one began."""
    return shlex.join(["selfedit", *words])


@contextmanager
def working(*, quiet: bool = False) -> Iterator[tuple[ProgressSink, Interrupt]]:
    """Progress on stderr, Ctrl-C between two steps, and an allocator that keeps its memory."""
    from selfedit.lm.memory import keep_memory
    from selfedit.run.heartbeat import heartbeat
    from selfedit.run.interrupt import Interrupt
    from selfedit.run.progress import progress_to

    keep_memory()
    words = nullcontext() if quiet else heartbeat(say)
    with Interrupt(resume=resume(), notify=say) as interrupt, words:
        yield progress_to(sys.stderr, quiet=quiet), interrupt


@contextmanager
def working_with(model: str, *, quiet: bool = False) -> Iterator[Watching]:
    """The same with a model on this machine, fetched first where it is not; what a run is given."""
    with working(quiet=quiet) as (progress, interrupt):
        from selfedit.cli.fetching import have_model

        have_model(model, quiet=quiet)
        yield {"progress": progress, "interrupt": interrupt}


def say(text: str) -> None:
    """One message, on stderr: stdout carries results only."""
    from selfedit.run.lasting import LastingStream

    stream = LastingStream(sys.stderr)
    stream.write(in_lines(text) + "\n")
    stream.flush()
