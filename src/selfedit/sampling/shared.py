"""The sampler of a run with several workers: each of them writes and reads a part."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

from selfedit.engine.base import Engine, Reading, Writing
from selfedit.lm.cores import balanced, in_order, places_by_key, places_of_units
from selfedit.lm.generate import Completion
from selfedit.lm.likelihood import Gold
from selfedit.lm.lora import Adapter
from selfedit.lm.rules import Stop, TokenRule
from selfedit.sampling.base import Sampler

MIN_TEXTS = 8
"""Texts a worker gets at the least."""


class SharedSampler:
    """Gives the workers of an engine their parts.

    Args:
        engine: several processes, each with the policy's weights.
        local: writes what is too little to be shared, and what a grammar rules: a grammar's state
            stays in the process that made it.
    """

    def __init__(self, engine: Engine, local: Sampler) -> None:
        self._engine, self._local = engine, local

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
        under = [None] * len(prompts) if adapters is None else list(adapters)
        ruled = rules is not None and any(rule is not None for rule in rules)
        # equal prompts under one adapter are read once: they stay together
        alike = [(prompt, id(adapter)) for prompt, adapter in zip(prompts, under, strict=True)]
        parts = self._parts(alike, [len(prompt) + max_new_tokens for prompt in prompts])
        # Too few texts to be worth the workers, or grammars, whose state cannot be sent.
        if ruled or len(parts) == 1:
            return self._local.generate(
                prompts,
                under,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_p=top_p,
                seeds=seeds,
                rules=rules,
                alphabet=alphabet,
                stop=stop,
            )
        works: list[Writing] = []
        for part in parts:
            work = Writing(
                prompts=tuple(prompts[k] for k in part),
                adapters=tuple(under[k] for k in part),
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_p=top_p,
                seeds=None if seeds is None else tuple(seeds[k] for k in part),
                alphabet=None if alphabet is None else tuple(alphabet),
                stop=stop,
            )
            works.append(work)
        return in_order(parts, self._engine.write(works))

    def log_probabilities(
        self, texts: Sequence[Gold], adapters: Sequence[Adapter | None] | None = None
    ) -> list[float]:
        """See `Sampler`."""
        under = [None] * len(texts) if adapters is None else list(adapters)
        parts = self._parts(range(len(texts)), [len(ids) for ids, _ in texts])
        # By their lengths: reading is what they cost.
        if len(parts) == 1:
            return self._local.log_probabilities(texts, under)
        works: list[Reading] = []
        for part in parts:
            works.append(Reading(tuple(texts[k] for k in part), tuple(under[k] for k in part)))
        return [-loss for loss in in_order(parts, self._engine.read(works))]

    def load_policy(self, folder: Path) -> None:
        """See `Sampler`; the run tells the engine itself."""
        self._local.load_policy(folder)

    def _parts(self, alike: Sequence[Hashable], loads: Sequence[int]) -> list[list[int]]:
        """Places of each worker's texts; those that are alike stay together."""
        units = places_by_key(alike)
        count = min(self._engine.workers, len(units), len(alike) // MIN_TEXTS)
        # Below that a worker would spend its time on reading the weights.
        if count < 2:
            return [list(range(len(alike)))]
        unit_loads = [sum(map(loads.__getitem__, unit)) for unit in units]
        shares = balanced(unit_loads, count)
        return places_of_units(units, shares)
