"""The sampler of this process: the run's own model writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from selfedit.config import Settings
from selfedit.lm.generate import Completion, generate
from selfedit.lm.likelihood import Gold, answer_losses
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.rules import Stop, TokenRule


class LocalSampler:
    """Writes with the model that the run has loaded, whose weights are the policy's."""

    def __init__(self, lm: LanguageModel, settings: Settings) -> None:
        self.lm = lm

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
        """See `Sampler`."""
        return generate(
            self.lm,
            prompts,
            adapters,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seeds=seeds,
            rules=rules,
            alphabet=alphabet,
            stop=stop,
        )

    def log_probabilities(
        self, texts: Sequence[Gold], adapters: Sequence[Adapter | None] | None = None
    ) -> list[float]:
        """See `Sampler`."""
        # A loss is the negative log-likelihood.
        under = [None] * len(texts) if adapters is None else adapters
        return [-loss for loss in answer_losses(self.lm, texts, under)]

    def load_policy(self, folder: Path) -> None:
        """See `Sampler`; the run has given its model the new weights already."""


SAMPLER = LocalSampler
