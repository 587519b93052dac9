"""What a sampler can do. One file here is one sampler, chosen by ``sampler``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from selfedit.config.choice import Choice

if TYPE_CHECKING:
    from selfedit.lm.generate import Completion
    from selfedit.lm.likelihood import Gold
    from selfedit.lm.lora import Adapter
    from selfedit.lm.rules import Stop, TokenRule

SAMPLERS = Choice("sampler", "selfedit.sampling", "SAMPLER")
"""A sampler's module holds its class as ``SAMPLER``; it is made with the run's `LanguageModel` and
`Settings`.
"""


class Sampler(Protocol):
    """Writes texts with the current policy and says how likely it finds given ones.

    A sampler gives the same tokens for the same policy, prompt and seed, whatever else is in a
    call: a resumed run must write what an uninterrupted one wrote.
    """

    def generate(
        self,
        prompts: Sequence[tuple[int, ...]],
        adapters: Sequence[Adapter | None] | None = None,
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seeds: Sequence[int] | None = None,
        rules: Sequence[TokenRule | None] | None = None,
        alphabet: Sequence[int] | None = None,
        stop: Stop | None = None,
    ) -> list[Completion]:
        """One completion a prompt, in their order.

        Args:
            prompts: token ids.
            adapters: under which adapter each is answered; None answers all with the policy as it
                is.
            max_new_tokens: the longest completion.
            temperature: 0 takes the most likely token every time.
            top_p: sample among the most likely tokens that add up to this.
            seeds: one for each prompt, needed above temperature 0.
            rules: the grammar that each completion is written under.
            alphabet: the only tokens there are; None for all.
            stop: ends a completion besides the model's own end of text.
        """
        ...

    def log_probabilities(
        self, texts: Sequence[Gold], adapters: Sequence[Adapter | None] | None = None
    ) -> list[float]:
        """The mean log-probability of each text's marked tokens, in nats a token; a text is ids and
        marks.
        """
        ...

    def load_policy(self, folder: Path) -> None:
        """Go on with the policy whose merged weights are in this model folder."""
        ...
