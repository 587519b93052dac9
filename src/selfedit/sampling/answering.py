"""Answers under adapters by another sampler than the worker that trained them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from selfedit.config import Settings
from selfedit.engine.base import Answering
from selfedit.lm.generate import Completion
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.rules import Decoding
from selfedit.sampling.base import SAMPLERS, Sampler


@dataclass(frozen=True)
class BySampler:
    """The answers of the sampler that ``eval.sampler`` names, asked by whichever worker has trained
    the adapters.
    """

    settings: Settings

    def ready(self, lm: LanguageModel) -> None:
        """See `Answering`: a server is looked at before a group is trained, and again for its
        answers, for it may have changed meanwhile.
        """
        if (look := getattr(self._sampler(lm), "ready", None)) is not None:
            look()

    def answers(
        self,
        lm: LanguageModel,
        prompts: Sequence[tuple[int, ...]],
        adapters: Sequence[Adapter | None],
        decoding: Decoding,
    ) -> list[Completion]:
        """See `Answering`."""
        return self._sampler(lm).generate(prompts, adapters, **vars(decoding))

    def _sampler(self, lm: LanguageModel) -> Sampler:
        return SAMPLERS.load(self.settings.eval.sampler)(lm, self.settings)


def answering(settings: Settings) -> Answering | None:
    """Who answers under adapters, as ``eval.sampler`` says; None for whoever trained them."""
    return None if settings.eval.sampler == "local" else BySampler(settings)
