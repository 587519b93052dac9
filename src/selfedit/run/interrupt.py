"""Ctrl-C: once to stop after the step in hand, twice to stop at once. Neither loses what is stored."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from selfedit.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Turns SIGINT and SIGTERM into a flag while it is entered.

    ``with Interrupt(resume="selfedit train -o runs/one") as interrupt:`` and, between two steps,
    ``interrupt.check()``. The first signal sets the flag. The second raises KeyboardInterrupt where
    the program stands (it is no `Exception`, so nothing on the way swallows it); a running
    transaction is rolled back, and this block turns it into `Interrupted`. The handlers of before
    are put back at the end. Outside the main thread, where Python lets nobody handle signals,
    nothing is ever requested.

    Args:
        resume: the command that goes on with the run, for the message.
        notify: called with one line at the first signal, from the signal's handler.
    """

    def __init__(
        self, *, resume: str | None = None, notify: Callable[[str], None] | None = None
    ) -> None:
        self.requested = False
        self._resume = resume
        self._notify = notify
        self._before: dict[signal.Signals, Any] = {}

    def check(self) -> None:
        """Stop here if that was asked for: call it between steps, when everything finished is
        stored.

        Raises:
            Interrupted: if a signal has come.
        """
        if self.requested:
            raise self._interrupted("stopped as you asked; everything finished is stored")

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that was not set from Python and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            raise self._interrupted(
                "stopped at once; the step in hand is lost, everything before it is stored"
            ) from error

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if self._notify is not None:
            self._notify("stopping after this step; once more to stop at once")

    def _interrupted(self, what: str) -> Interrupted:
        fix = (
            f"to go on: {self._resume}" if self._resume else "start the same command again to go on"
        )
        return Interrupted(what, fix=fix)
