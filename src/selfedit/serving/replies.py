"""Replies in OpenAI's form, whole and in pieces, with what answered beside them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from selfedit.documents.shelf import Shelf, Source
from selfedit.lm.load import LanguageModel
from selfedit.serving.ticket import TextPiece

Json = dict[str, Any]


def model_list(shelf: Shelf) -> Json:
    """The reply of ``/v1/models``."""
    return {"object": "list", "data": [model_card(shelf, name) for name in shelf.names]}


def model_card(shelf: Shelf, name: str) -> Json:
    """One model of the list."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "selfedit"}


def source_record(source: Source) -> Json:
    """What answered: the ``selfedit`` of a reply."""
    document = source.name if source.kind == "document" else None
    return {
        "source": source.kind,
        "name": source.name,
        "document": document,
        "reason": source.reason,
    }


def source_headers(sources: Sequence[Source]) -> dict[str, str]:
    """The same in headers, percent-encoded; of several prompts, what answered each of them."""
    kinds = ", ".join(dict.fromkeys(source.kind for source in sources))
    names = ", ".join(dict.fromkeys(quote(s.name, safe="/") for s in sources if s.name))
    return {"x-selfedit-source": kinds} | ({"x-selfedit-name": names} if names else {})


@dataclass
class Text:
    """One answer as far as it has come."""

    text: str = ""
    tokens: int = 0
    finish: str | None = None
    pieces: list[TextPiece] = field(default_factory=list)

    def take(self, piece: TextPiece) -> None:
        """Add a piece."""
        self.text += piece.text
        self.tokens, self.finish = piece.tokens, piece.finish
        self.pieces.append(piece)


@dataclass(frozen=True)
class ReplyForm:
    """How the replies to one request look.

    Attributes:
        lm: for the tokens' texts in logarithms of probabilities.
        chat: a chat's form, or that of completions.
        model: as the client called it.
        sources: what answers each prompt.
        each: texts a prompt.
        prompt_tokens: of all prompts.
        logs: whether logarithms are wanted.
    """

    lm: LanguageModel
    chat: bool
    model: str
    sources: Sequence[Source]
    each: int
    prompt_tokens: int
    logs: bool
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, texts: Sequence[Text]) -> Json:
        """The reply in one piece."""
        choices = []
        for number, text in enumerate(texts):
            body = {"message": {"role": "assistant", "content": text.text}}
            choice = body if self.chat else {"text": text.text}
            choices.append(self._choice(number, choice, text.pieces, text.finish))
        reply = self._frame("chat.completion" if self.chat else "text_completion", choices)
        return reply | {"usage": self.usage(texts)}

    def opening(self, number: int) -> Json:
        """A chat's first chunk of one text: who speaks."""
        delta = {"delta": {"role": "assistant", "content": ""}}
        return self._chunk([self._choice(number, delta, [], None)])

    def chunk(self, number: int, piece: TextPiece) -> Json:
        """A chunk with more of one text."""
        delta = {"delta": {"content": piece.text} if piece.text else {}}
        choice = delta if self.chat else {"text": piece.text}
        return self._chunk([self._choice(number, choice, [piece], piece.finish)])

    def closing(self, texts: Sequence[Text]) -> Json:
        """The chunk that says what all of it came to."""
        return self._chunk([]) | {"usage": self.usage(texts)}

    def usage(self, texts: Sequence[Text]) -> Json:
        """Tokens read and written; the token that ends a text is none of it."""
        written = sum(text.tokens for text in texts)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
        }

    def _chunk(self, choices: list[Json]) -> Json:
        return self._frame("chat.completion.chunk" if self.chat else "text_completion", choices)

    def _frame(self, kind: str, choices: list[Json]) -> Json:
        records = [source_record(source) for source in self.sources]
        return {
            "id": f"{'chatcmpl' if self.chat else 'cmpl'}-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
            # Of several prompts a list, in their order.
            "selfedit": records[0] if len(records) == 1 else records,
        }

    def _choice(
        self,
        number: int,
        content: Mapping[str, Any],
        pieces: Sequence[TextPiece],
        finish: str | None,
    ) -> Json:
        return {
            "index": number,
            **content,
            "logprobs": self._logprobs(pieces) if self.logs else None,
            "finish_reason": finish,
        }

    def _logprobs(self, pieces: Sequence[TextPiece]) -> Json:
        noted = [
            (token, log)
            for piece in pieces
            for token, log in zip(piece.ids, piece.logs, strict=True)
        ]
        if self.chat:
            content = [
                self._token(token, log.logprob)
                | {"top_logprobs": [self._token(*each) for each in log.likeliest]}
                for token, log in noted
            ]
            return {"content": content, "refusal": None}
        return {
            "tokens": [self._shown(token) for token, _ in noted],
            "token_logprobs": [log.logprob for _, log in noted],
            "top_logprobs": [
                {self._shown(token): value for token, value in log.likeliest} for _, log in noted
            ],
            "text_offset": [],
        }

    def _token(self, token: int, logprob: float) -> Json:
        # A token that is part of a character has no text of its own, and its bytes are the
        # tokenizer's secret.
        text = self._shown(token)
        known = None if "\ufffd" in text else list(text.encode())
        return {"token": text, "logprob": logprob, "bytes": known}

    def _shown(self, token: int) -> str:
        return str(self.lm.tokenizer.decode([token]))
