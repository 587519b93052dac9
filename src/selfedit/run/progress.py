"""How far a run is: a protocol for the code that works, and three ways to show it for the command
line.

The working code takes a `ProgressSink` (default `SILENT`) and writes
``with progress.task("adapting", total=120, unit="self-edits", done=40) as task: task.advance(3,
note="context 7")``. Tasks nest. Rates and time left come from what this session did: `done`, what
an earlier one did, counts for the bar only. Lines for a log are written here and not by tqdm, which
redraws one line with carriage returns and knows neither nesting nor how a task ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID
from rich.progress import Task as RichTask
from rich.table import Column
from rich.text import Text

from selfedit.run.lasting import LastingStream
from selfedit.storage.neutral import in_line

Clock = Callable[[], float]


class ProgressTask(Protocol):
    """Something that is counted."""

    def advance(self, count: int = 1, *, note: str = "") -> None:
        """Count `count` more as finished; `note` says what is going on, in a few words."""
        ...


def count_up(task: ProgressTask, check: Callable[[], None] = lambda: None) -> Callable[..., None]:
    """A training's ``on_step``: tells a task of the tokens done so far, of which it knows some
    already.

    Args:
        task: is told how many more there are.
        check: called first at every step; may raise.
    """
    reported = 0

    def on_step(tokens: int, *_: object) -> None:
        nonlocal reported
        check()
        task.advance(tokens - reported)
        reported = tokens

    return on_step


class ProgressSink(Protocol):
    """Where progress is told."""

    def task(
        self, name: str, *, total: int, unit: str = "", done: int = 0
    ) -> AbstractContextManager[ProgressTask]:
        """Start a task of `total` units of which an earlier session did `done`."""
        ...

    def tell(self, text: str) -> None:
        """Say something that stays to be read: what a finished round did."""
        ...


class Pace:
    """A task's count, its rate and the time left."""

    def __init__(self, total: int, done: int, clock: Clock = time.monotonic) -> None:
        self.total = total
        self.count = self._resumed = done
        self._clock = clock
        self._started = self._advanced = clock()

    def advance(self, count: int) -> None:
        """Count more as finished."""
        self.count += count
        self._advanced = self._clock()

    @property
    def rate(self) -> float | None:
        """Units a second in this session, up to the last that was finished; None before the
        first.
        """
        elapsed, counted = self._advanced - self._started, self.count - self._resumed
        return counted / elapsed if counted > 0 and elapsed > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds to go at this session's rate, counting down between two advances; None before
        there is a rate.
        """
        if not self.rate:
            return None
        return max((self.total - self.count) / self.rate - (self._clock() - self._advanced), 0.0)

    @property
    def elapsed(self) -> float:
        """Seconds since this session began the task."""
        return self._clock() - self._started

    def describe(self, unit: str) -> str:
        """The rate and the time left in words, empty before there is a rate."""
        if self.rate is None or self.left is None:
            return ""
        number, per = (self.rate, "s") if self.rate >= 1 else (self.rate * 60, "min")
        return f"{number:.1f}{f' {unit}' if unit else ''}/{per}, {duration(self.left)} left"


class _Silent:
    """A sink, and a task, that says nothing."""

    def task(self, name: str, *, total: int, unit: str = "", done: int = 0) -> _Silent:
        return self

    def advance(self, count: int = 1, *, note: str = "") -> None:
        return None

    def tell(self, text: str) -> None:
        return None

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *exception: object) -> None:
        return None


SILENT: ProgressSink = _Silent()
"""Progress told to nobody."""


class PlainProgress:
    """Lines for a log: at a task's start and end, every `seconds`, and at a tenth if the last line
    is not just gone.
    """

    def __init__(
        self, stream: TextIO, *, seconds: float = 30.0, clock: Clock = time.monotonic
    ) -> None:
        self.stream = stream
        self.seconds = seconds
        self.clock = clock
        self.depth = 0

    def task(self, name: str, *, total: int, unit: str = "", done: int = 0) -> _PlainTask:
        """Start a task; its lines are indented by how deep it is nested."""
        return _PlainTask(self, printable(name), unit, Pace(total, done, self.clock))

    def tell(self, text: str) -> None:
        """See `ProgressSink`."""
        self.write(in_line(text))

    def write(self, line: str) -> None:
        """Write one line at once."""
        self.stream.write("  " * self.depth + line + "\n")
        self.stream.flush()


class _PlainTask:
    def __init__(self, sink: PlainProgress, name: str, unit: str, pace: Pace) -> None:
        self._sink, self._name, self._unit, self._pace = sink, name, unit, pace
        self._last_line = (0.0, pace.count)

    def __enter__(self) -> _PlainTask:
        resumed = ", going on" if self._pace.count else ""
        self._sink.write(f"{self._name}: {self._counted()}{resumed}")
        self._sink.depth += 1
        return self

    def __exit__(self, *exception: object) -> None:
        self._sink.depth -= 1
        ending = "stopped" if exception[0] is not None else "done"
        self._sink.write(
            f"{self._name}: {ending}, {self._counted()} in {duration(self._pace.elapsed)}"
        )

    def advance(self, count: int = 1, *, note: str = "") -> None:
        pace = self._pace
        pace.advance(count)
        last_time, last_count = self._last_line
        tenth = pace.count - last_count >= pace.total / 10
        # Both bounds: a quick task must not flood the log by tenths, a long one must not be silent
        # for a tenth of it.
        since = pace.elapsed - last_time
        due = since >= self._sink.seconds or (tenth and since >= self._sink.seconds / 10)
        if due and pace.count < pace.total:
            self._last_line = (pace.elapsed, pace.count)
            parts = [self._counted(), pace.describe(self._unit), printable(note)]
            self._sink.write(f"{self._name}: {', '.join(filter(None, parts))}")

    def _counted(self) -> str:
        pace = self._pace
        share = f" ({pace.count / pace.total:.0%})" if pace.total else ""
        return f"{pace.count}/{pace.total} {self._unit}".rstrip() + share


class RichProgress:
    """Bars for a terminal: one a task, nested ones below; the outermost stays on the screen when it
    ends.
    """

    def __init__(self, stream: TextIO, *, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self.depth = 0
        self.bars = Progress(
            _Words("name"), BarColumn(), _Words("counted"), _Words("pace"), _Words("note"),
            console=Console(file=stream), redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip

    def task(self, name: str, *, total: int, unit: str = "", done: int = 0) -> _RichTask:
        """Start a task; its bar appears when it is entered."""
        return _RichTask(self, printable(name), unit, Pace(total, done, self.clock))

    def tell(self, text: str) -> None:
        """See `ProgressSink`; above the bars."""
        self.bars.console.print(Text(in_line(text)))


class _Words(ProgressColumn):
    """One of a task's texts, asked for at every refresh so that the time left counts down, and
    never read as markup.
    """

    def __init__(self, field: str) -> None:
        super().__init__(table_column=Column(no_wrap=True, overflow="ellipsis"))
        self._field = field

    def render(self, task: RichTask) -> Text:
        """The text as it is now."""
        return Text(task.fields["words"](self._field))


class _RichTask:
    def __init__(self, sink: RichProgress, name: str, unit: str, pace: Pace) -> None:
        self._sink, self._name, self._unit, self._pace = sink, name, unit, pace
        self._note = ""
        self._id: TaskID | None = None

    def __enter__(self) -> _RichTask:
        sink = self._sink
        self._name = "  " * sink.depth + self._name
        self._id = sink.bars.add_task(
            "", total=self._pace.total, completed=self._pace.count, words=self._words
        )
        if sink.depth == 0:
            sink.bars.start()
        sink.depth += 1
        return self

    def __exit__(self, *exception: object) -> None:
        self._sink.depth -= 1
        if self._sink.depth == 0:
            self._sink.bars.stop()
        if self._id is not None:
            self._sink.bars.remove_task(self._id)

    def advance(self, count: int = 1, *, note: str = "") -> None:
        self._pace.advance(count)
        self._note = printable(note)
        if self._id is not None:
            self._sink.bars.update(self._id, completed=self._pace.count)

    def _words(self, field: str) -> str:
        if field == "counted":
            return f"{self._pace.count}/{self._pace.total} {self._unit}".rstrip()
        return {"name": self._name, "pace": self._pace.describe(self._unit), "note": self._note}[
            field
        ]


def progress_to(stream: TextIO, *, quiet: bool = False) -> ProgressSink:
    """What suits a stream: bars on a terminal, lines elsewhere, nothing if `quiet`. A stream that
    loses its reader is told no more.
    """
    if quiet:
        return SILENT
    lasting: Any = LastingStream(stream)
    return RichProgress(lasting) if Console(file=lasting).is_terminal else PlainProgress(lasting)


def duration(seconds: float) -> str:
    """Seconds in words a person reads: ``"12 s"``, ``"4 min 05 s"``, ``"2 h 10 min"``."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60:02d} min"


def printable(text: str, width: int = 60) -> str:
    """A note on one line, cut to `width`, without anything that could steer a terminal."""
    return in_line(text, width)
