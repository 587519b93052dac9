"""Tokens that come one by one as text that can be shown: no half characters, nothing behind a stop
string and nothing that might be the beginning of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

_HALF = "\ufffd"
"""What a tokenizer shows for bytes that are no character yet."""


class TextStream:
    """One text on its way.

    Args:
        decode: token ids to text.
        stop: strings that end the text; the first to come, and all behind it, is left out.

    Attributes:
        stopped: whether one of them has come.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode, self._stop = decode, tuple(stop)
        self.stopped = False
        self._ids: list[int] = []
        # Decoded anew at each token: the ids from `_context` on; up to `_read` they are in the
        # text already, and stand there because some tokenizers join a token to the one before.
        self._context, self._read = 0, 0
        self._text, self._shown = "", 0

    def add(self, ids: Sequence[int]) -> str:
        """Take more tokens; the text that can be shown because of them."""
        self._ids += ids
        new = self._new_text()
        if new and not new.endswith(_HALF):
            self._text += new
            self._context, self._read = self._read, len(self._ids)
        return self._release(len(self._text) - self._held_back())

    def end(self) -> str:
        """The rest of the text, when no more tokens come."""
        self._text += self._new_text()
        self._context = self._read = len(self._ids)
        return self._release(len(self._text))

    def _new_text(self) -> str:
        before = self._decode(self._ids[self._context : self._read])
        return self._decode(self._ids[self._context :])[len(before) :]

    def _release(self, until: int) -> str:
        if self.stopped:
            return ""
        ends = [end for stop in self._stop if (end := self._text.find(stop, self._shown)) >= 0]
        self.stopped = bool(ends)
        until = min(ends, default=until)
        text, self._shown = self._text[self._shown : until], max(self._shown, until)
        return text

    def _held_back(self) -> int:
        """Letters at the end of the text that a stop string may begin with."""
        waiting = self._text[self._shown :]
        longest = max(map(len, self._stop), default=1) - 1
        for count in range(min(longest, len(waiting)), 0, -1):
            if any(stop.startswith(waiting[-count:]) for stop in self._stop):
                return count
        return 0
