"""A conversation in the terminal: what was said, commands, and answers as they are written."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING

from selfedit.cli.command import say
from selfedit.errors import SelfEditError
from selfedit.storage.neutral import as_unicode, in_pieces

if TYPE_CHECKING:
    from selfedit.documents.shelf import Source
    from selfedit.serving.requests import ChatBody
    from selfedit.serving.service import Service
    from selfedit.serving.ticket import TextPiece, Ticket

TURNS = 4
"""Questions with their answers that a follow-up is shown."""
_CHAT_HELP = """/source         what the last answer came from
/from NAME      let NAME answer from now on; auto lets the question decide
/topic WORDS    what the questions are about; nothing for none
/new            forget what was said
/quit           end"""


class Conversation:
    """Questions and answers with a service whose scheduler runs.

    Args:
        service: what answers.
        temperature: 0 for the likeliest answer.
    """

    def __init__(self, service: Service, temperature: float) -> None:
        self._service, self._temperature = service, temperature
        self._name, self._topic = "auto", ""
        self._turns: list[tuple[str, str]] = []
        self._source: Source | None = None
        self._tickets: Sequence[Ticket] = ()

    def take(self, line: str) -> bool:
        """A question or a command; False at the end."""
        text = as_unicode(line).strip()
        command, _, rest = text.partition(" ")
        if command in ("/quit", "/exit"):
            return False
        if text.startswith("/"):
            self._obey(command, rest.strip())
        elif text:
            self._question(text)
        return True

    def give_up(self) -> None:
        """Let an answer go that is still written."""
        self._service.scheduler.cancel(self._tickets)

    def _obey(self, command: str, rest: str) -> None:
        if command == "/source":
            say("nothing was asked yet" if self._source is None else _described_reply(self._source))
        elif command == "/from":
            self._from(rest or "auto")
        elif command == "/topic":
            self._topic = rest
        elif command == "/new":
            self._turns.clear()
        else:
            say(_CHAT_HELP)

    def _from(self, name: str) -> None:
        names = self._service.shelf.names
        if name in names:
            self._name = name
        else:
            say(f"there is no {name}; there are: {', '.join(names[:20])}")

    def _question(self, question: str) -> None:
        from selfedit.serving.failures import Failure

        try:
            answer = self._answered(question)
        except (Failure, SelfEditError) as error:
            sys.stdout.flush()
            say(f"error: {error}")
            return
        self._turns = [*self._turns, (question, answer)][-TURNS:]

    def _answered(self, question: str) -> str:
        """The answer, shown as it comes."""
        body = self._body(question)
        (prompt,) = self._service.chat(body)
        self._source = prompt.source
        pieces: SimpleQueue[TextPiece | Exception] = SimpleQueue()
        self._tickets = self._service.submit(body, [prompt], lambda _: pieces.put)
        text, finish = "", None
        while finish is None:
            piece = pieces.get()
            if isinstance(piece, Exception):
                raise _failed(piece)
            fresh = piece.text if text else piece.text.lstrip()
            sys.stdout.write(in_pieces(fresh))
            sys.stdout.flush()
            text, finish = text + fresh, piece.finish
        sys.stdout.write("\n")
        sys.stdout.flush()
        say(_described_reply(self._source))
        return text

    def _body(self, question: str) -> ChatBody:
        """The question by itself where it says what it is about, else behind what was said."""
        from selfedit.serving.requests import ChatBody, read_request

        shelf = self._service.shelf
        alone = {"role": "user", "content": question}
        by_itself = (
            shelf.kind == "document"
            and self._name == "auto"
            and shelf.source(self._name, [question], self._topic).adapter is not None
        )
        messages = [alone] if by_itself else [*_so_far(self._turns), alone]
        fields = {"messages": messages, "model": self._name, "topic": self._topic}
        return read_request(ChatBody, fields | {"temperature": self._temperature})


def _so_far(turns: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = []
    for question, answer in turns:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    return messages


def _described_reply(source: Source) -> str:
    """What an answer came from, in a line."""
    if source.name is not None:
        return f"from {source.name}"
    return f"{source.reason}: the model's own answer"


def _failed(error: Exception) -> SelfEditError:
    from selfedit.errors import Unavailable

    return error if isinstance(error, SelfEditError) else Unavailable(f"no answer: {error}")
