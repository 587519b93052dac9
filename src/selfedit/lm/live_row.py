"""One prompt on its way through a live batch: what it asks for, and what it has come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from selfedit.lm.decoder import DecodingRow
from selfedit.lm.lora import Adapter
from selfedit.lm.sampling import draw_uniforms

Finish = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class TokenLog:
    """How likely a token was, in nats, under the model's own distribution (temperature 1), and the
    likeliest ones beside it, likeliest first.
    """

    logprob: float
    likeliest: tuple[tuple[int, float], ...]


@dataclass(eq=False)
class LiveRow(DecodingRow):
    """A prompt on its way, made by `live_row`.

    Attributes:
        weights: the adapter it is answered under; None is the plain model.
        limit: tokens it may write.
        temperature, top_p: how it is sampled; temperature 0 is greedy.
        alternatives: likeliest tokens that are noted beside each of its own; None notes nothing.
        finish: how it ended; None while it goes on. Setting it ends the row before the next token.
        end: the token that ended it, which is none of ``tokens``.
        noted: of each of its tokens, and of ``end``, where ``alternatives`` is given.
    """

    weights: Adapter | None = None
    limit: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    alternatives: int | None = None
    finish: Finish | None = None
    end: int | None = None
    noted: list[TokenLog] = field(default_factory=list)

    @property
    def longest(self) -> int:
        """Tokens it may come to, its prompt among them."""
        return len(self.prompt) + self.limit


def live_row(
    prompt: Sequence[int],
    weights: Adapter | None,
    limit: int,
    *,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    alternatives: int | None = None,
) -> LiveRow:
    """A row at its beginning; its draws depend on its own seed alone, as in `generate`."""
    uniforms = draw_uniforms([seed], limit if temperature else 0)[0]
    return LiveRow(
        index=0,
        prompt=tuple(prompt),
        adapter=-1,
        uniforms=uniforms,
        tokens=[],
        weights=weights,
        limit=limit,
        temperature=temperature,
        top_p=top_p,
        alternatives=alternatives,
    )
