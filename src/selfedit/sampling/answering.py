"""Answers under adapters by another sampler than the worker that trained them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from selfedit.config import Settings
from selfedit.engine.base import Answering
from selfedit.lm.generate import Completion
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.rules import Decoding
from selfedit.sampling.base import SAMPLERS, Sampler


@dataclass
class BySampler:
    """The answers of the sampler that ``eval.sampler`` names, asked by whichever worker has trained
    the adapters; one for each group, since a server may have changed since the last.
    """

    settings: Settings
    _held: Sampler | None = field(default=None, init=False, repr=False, compare=False)

    def ready(self, lm: LanguageModel) -> None:
        """See `Answering`."""
        self._held = SAMPLERS.load(self.settings.eval.sampler)(lm, self.settings)
        if (look := getattr(self._held, "ready", None)) is not None:
            look()

    def answers(
        self,
        lm: LanguageModel,
        prompts: Sequence[tuple[int, ...]],
        adapters: Sequence[Adapter | None],
        decoding: Decoding,
    ) -> list[Completion]:
        """See `Answering`."""
        assert self._held is not None  # `ready` comes first, in the process that answers
        return self._held.generate(prompts, adapters, **vars(decoding))


def answerer(settings: Settings) -> Answering | None:
    """Who answers under adapters, as ``eval.sampler`` says; None for whoever trained them."""
    return None if settings.eval.sampler == "local" else BySampler(settings)
