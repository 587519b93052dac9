"""Ctrl-C: once to stop after the step in hand, twice to stop at once. Neither loses what is
stored.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from selfedit.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a run to stop: Ctrl-C, a service manager or scheduler, a terminal that is closed."""
_AGAIN_SECONDS = 0.01


class Interrupt:
    """Turns SIGINT, SIGTERM and SIGHUP into a flag while it is entered; one that is ignored already
    (``nohup``) stays so.

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
        self._hook: Callable[..., Any] | None = None

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
            for number in SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
            self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            # None stands for a handler that was not set from Python and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()
        if self._hook is not None:
            sys.unraisablehook, self._hook = self._hook, None
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

    def _unraisable(self, unraisable: Any) -> None:
        """What Python could not raise, in a finaliser say: a second Ctrl-C there comes again a
        moment later, when the program stands elsewhere.
        """
        if unraisable.exc_type is KeyboardInterrupt:
            self._before.setdefault(signal.SIGALRM, signal.signal(signal.SIGALRM, self._handle))
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        elif self._hook is not None:
            self._hook(unraisable)

    def _interrupted(self, what: str) -> Interrupted:
        fix = (
            f"to go on: {self._resume}" if self._resume else "start the same command again to go on"
        )
        return Interrupted(what, fix=fix)


def end_at_signals() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does, outside of an `Interrupt` too: the
    first raises KeyboardInterrupt, the second ends it on the spot, for nothing is under way then
    that could be lost. One that is ignored already stays so.
    """
    begun, hook = False, sys.unraisablehook

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal begun
        if begun:
            os._exit(Interrupted.exit_code)
        begun = True
        raise KeyboardInterrupt

    def unraisable(unraisable: Any) -> None:
        nonlocal begun
        if unraisable.exc_type is not KeyboardInterrupt:
            hook(unraisable)
        elif signal.getsignal(signal.SIGALRM) != signal.SIG_IGN:  # not at the process's end
            begun = False
            signal.signal(signal.SIGALRM, handle)
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    sys.unraisablehook = unraisable
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, handle)


def ignore_signals() -> None:
    """Let nothing interrupt a process that is at its end: its exit code and last words stand."""
    for number in (*SIGNALS, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def asked_to_stop(check: Callable[[], None]) -> Interrupted | None:
    """What ``check`` raises for a user who stops: for those who first receive what is in hand."""
    try:
        check()
    except Interrupted as stopped:
        return stopped
    return None


@contextmanager
def own_signals() -> Iterator[None]:
    """Keep our answers to signals: Ray, for one, sets its own where it starts, which leave at
    once; a run stores what is in hand.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        main = threading.current_thread() is threading.main_thread()  # no other may set any
        for number, handler in before.items():
            # None stands for a handler that was not set from Python and cannot be put back.
            if handler is not None and main:
                signal.signal(number, handler)
