"""A text on its way, and whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from selfedit.lm.live_row import LiveRow, TokenLog
from selfedit.serving.text_stream import TextStream


@dataclass(frozen=True)
class TextPiece:
    """More of one text.

    Attributes:
        text: what can be shown.
        tokens: tokens written so far.
        ids, logs: the new tokens, and what was noted of them.
        finish: how the text has ended; None while it goes on.
    """

    text: str
    tokens: int
    ids: tuple[int, ...]
    logs: tuple[TokenLog, ...]
    finish: Literal["stop", "length"] | None = None


Emit = Callable[[TextPiece | Exception], None]
"""Told of each piece, in the decoding thread: it has to be quick."""


@dataclass(eq=False)
class Ticket:
    """A row and whoever waits for its text. `Scheduler.cancel` gives it up."""

    row: LiveRow
    stream: TextStream
    emit: Emit
    cancelled: bool = False
    count: int = 0
    finished: bool = False

    def advance(self) -> None:
        """Tell of what the row has written since the last time."""
        ids = tuple(self.row.tokens[self.count :])
        logs = tuple(self.row.noted[self.count : len(self.row.tokens)])
        self.count = len(self.row.tokens)
        text, finish = self.stream.add(ids), None
        if self.row.finish is not None and not self.stream.stopped:
            text += self.stream.end()
            finish = "length" if self.row.finish == "length" else "stop"
        if self.stream.stopped:
            self.row.finish = "cancelled"  # the model would go on
            finish = "stop"
        self.finished = finish is not None
        if text or ids or finish:
            self.emit(TextPiece(text, self.count, ids, logs, finish))
