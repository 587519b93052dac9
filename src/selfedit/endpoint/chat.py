"""What an endpoint is asked, what it replies, what that costs: plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from selfedit.config.endpoint import EndpointSettings
from selfedit.storage.files import fingerprint

REFUSED = "refused"
"""The ``finish`` of a reply that the endpoint declined to give, a content filter for example."""


@dataclass(frozen=True)
class ChatRequest:
    """One request.

    Attributes:
        messages: (role, text) each.
        max_tokens: the longest reply.
        temperature, top_p: sampling; None leaves it to the endpoint.
        seed: sent along if given. Give a run's own for samples at a temperature, or two runs share
            what is kept.
        sample: number among several replies to the same messages.
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int = 256
    temperature: float | None = 0.0
    top_p: float | None = None
    seed: int | None = None
    sample: int = 0

    def body(self, endpoint: EndpointSettings) -> dict[str, Any]:
        """The request as the protocol has it."""
        values: dict[str, Any] = {
            "model": endpoint.model,
            "messages": [
                {"role": role, "content": _sendable(text)} for role, text in self.messages
            ],
            endpoint.token_limit: self.max_tokens,
        }
        chosen = {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed}
        return values | {name: value for name, value in chosen.items() if value is not None}

    def key(self, endpoint: EndpointSettings) -> str:
        """The name its reply is kept under: endpoint, model, parameters, messages, sample."""
        return fingerprint([endpoint.url, self.body(endpoint), self.sample])


def _sendable(text: str) -> str:
    """A model's text may hold half a surrogate pair, which UTF-8 has no bytes for."""
    return text.encode("utf-8", "replace").decode("utf-8")


def ask(text: str, *, system: str | None = None, **parameters: Any) -> ChatRequest:
    """A request of one user message, a system message before it if given; see `ChatRequest`."""
    first = (("system", system),) if system is not None else ()
    return ChatRequest((*first, ("user", text)), **parameters)


@dataclass(frozen=True)
class ChatReply:
    """One reply.

    Attributes:
        text: what the model said.
        finish: why it ended, in the endpoint's words (``stop``, ``length``), or ``refused``.
        tokens_in, tokens_out: as the endpoint counts them; None if it does not say.
        cost: of these tokens at the settings' prices; None if tokens or prices are not known.
        raw: the whole body of the response.
        cached: it was there already, nothing was asked.
        attempts: times the request was sent.
        seconds: from the first sending to the reply.
    """

    text: str
    finish: str
    tokens_in: int | None
    tokens_out: int | None
    cost: float | None
    raw: str
    cached: bool
    attempts: int
    seconds: float

    @property
    def refused(self) -> bool:
        """Whether the endpoint declined to reply."""
        return self.finish == REFUSED


@dataclass
class Bill:
    """What replies cost; ``spent`` counts what was asked now, ``cost`` also what was kept from
    before.

    Attributes:
        replies: given out, each request counted once however often it was in the lists.
        fetched: of them, fetched from the endpoint now.
        attempts: times they were sent, the failed ones too.
        refused: replies declined.
        tokens_in, tokens_out: of all replies.
        cost, spent: at the settings' prices, in their currency.
        unpriced: replies whose cost is not known; they are in no sum.
        counted: keys of the requests counted.
    """

    replies: int = 0
    fetched: int = 0
    attempts: int = 0
    refused: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    spent: float = 0.0
    unpriced: int = 0
    counted: set[str] = field(default_factory=set, repr=False)

    def add(self, key: str, reply: ChatReply) -> None:
        """Count one reply, unless it is counted already."""
        if key in self.counted:
            return
        self.counted.add(key)
        self.replies += 1
        self.fetched += not reply.cached
        self.attempts += 0 if reply.cached else reply.attempts
        self.refused += reply.refused
        self.tokens_in += reply.tokens_in or 0
        self.tokens_out += reply.tokens_out or 0
        if reply.cost is None:
            self.unpriced += not reply.refused
        else:
            self.cost += reply.cost
            self.spent += 0.0 if reply.cached else reply.cost

    def as_dict(self) -> dict[str, Any]:
        """Plain values; ``cost`` and ``spent`` are None where not every reply could be priced."""
        priced = not self.unpriced
        # Replies come in any order, and so the last bits of their sum: nine digits do not change
        # with it.
        sums = {
            name: round(getattr(self, name), 9) if priced else None for name in ("cost", "spent")
        }
        return {name: value for name, value in (asdict(self) | sums).items() if name != "counted"}


def cost(endpoint: EndpointSettings, tokens_in: int | None, tokens_out: int | None) -> float | None:
    """The price of a reply, or None if something needed for it is not known."""
    if (
        tokens_in is None
        or tokens_out is None
        or endpoint.price_in is None
        or endpoint.price_out is None
    ):
        return None
    return (tokens_in * endpoint.price_in + tokens_out * endpoint.price_out) / 1e6
