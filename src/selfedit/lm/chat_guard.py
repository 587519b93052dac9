"""What messages say is never read as control tokens: stand-ins while a template writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from selfedit.lm.encoding import Encoding

if TYPE_CHECKING:
    pass


Message = dict[str, str]


@dataclass(frozen=True)
class Guard:
    """Tokenises what a template made of messages whose control tokens' texts were exchanged for
    stand-ins.

    Attributes:
        encoding: of the model's tokenizer.
        stands_for: each stand-in, one character, and the text it stands for; empty for ordinary
            messages.
    """

    encoding: Encoding
    stands_for: dict[str, str]

    def ids(self, text: str, before: str = "", ids_before: Sequence[int] = ()) -> list[int]:
        """The ids of rendered text: control tokens where the template wrote them, plain ones where
        a message did.

        Args:
            text: rendered.
            before: what stands before it, already tokenised.
            ids_before: its ids.
        """
        if not before:
            return self._whole(text)
        # Tokenised together and cut: the seam's tokens must be those of the whole text.
        both = self._whole(before + text)
        if both[: len(ids_before)] == list(ids_before):
            return both[len(ids_before) :]
        # The tokenizer would join the text's beginning to what is before it.
        return self.encoding.filled(text, self._fill, goes_on=True)

    def _whole(self, text: str) -> list[int]:
        if any(mark in text for mark in self.stands_for):
            return self.encoding.filled(text, self._fill)
        return self.encoding.written(text)

    def _fill(self, text: str) -> str:
        for mark, control in self.stands_for.items():
            text = text.replace(mark, control)
        return text


def guarded(encoding: Encoding, messages: list[Message]) -> tuple[list[Message], Guard]:
    """The messages with a stand-in for each control token's text, and what tokenises them."""
    control = encoding.pattern
    contents = "".join(message["content"] for message in messages)
    # Stand-ins come from a private use plane: no template and no tokenizer knows them.
    unused = (char for char in map(chr, count(0xF0000)) if char not in contents)
    marks = {text: next(unused) for text in dict.fromkeys(control.findall(contents))}
    guarded = [
        message | {"content": control.sub(lambda match: marks[match.group()], message["content"])}
        for message in messages
    ]
    return guarded, Guard(encoding, {mark: text for text, mark in marks.items()})
