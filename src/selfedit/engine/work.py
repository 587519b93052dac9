"""What an engine is given and what it gives back: plain data that can cross to another process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob
from selfedit.lm.generate import Completion, generate
from selfedit.lm.likelihood import Gold, answer_losses
from selfedit.lm.load import LanguageModel
from selfedit.lm.rules import Stop
from selfedit.lm.stack import on_top

OnTokens = Callable[[int], None]
"""Called with the training tokens done since the last call."""


@dataclass(frozen=True)
class Work:
    """A group of inner loops, trained together and asked together.

    Attributes:
        jobs: one inner loop each; None adapts nothing, the model answers as it is.
        prompts: for each job, the token ids of the questions its adapted model is asked.
        max_new_tokens: the longest answer.
        alphabet: the only tokens an answer is made of; None for all.
        stop: ends an answer besides the model's own end of text.
        golds: for each job, the answers whose likelihood under its adapted model is asked; nothing asks for none.
    """

    jobs: tuple[AdaptJob | None, ...]
    prompts: tuple[tuple[tuple[int, ...], ...], ...]
    max_new_tokens: int
    alphabet: tuple[int, ...] | None = None
    stop: Stop | None = None
    golds: tuple[tuple[Gold, ...], ...] = ()


@dataclass(frozen=True)
class Trained:
    """One finished inner loop: its loss at every step, its training tokens, its answers, its gold answers' loss."""

    losses: tuple[float, ...]
    tokens: int
    answers: tuple[Completion, ...]
    gold_losses: tuple[float, ...] = ()


@dataclass(frozen=True)
class Done:
    """A finished group, and the seconds its parts took."""

    loops: tuple[Trained, ...]
    adapting: float
    answering: float
    reading: float = 0.0


class Engine(Protocol):
    """Runs groups of inner loops on the current policy."""

    def run(self, works: Sequence[Work], on_tokens: OnTokens, check: Callable[[], None]) -> Iterator[tuple[int, Done]]:
        """Yield (index, result) as groups finish, in any order; ``check`` is called between steps and may raise."""
        ...

    def take_up(self, folder: Path) -> None:
        """Go on with the weights of a merged policy's model folder."""
        ...

    def close(self) -> None:
        """Let go of whatever the engine holds."""
        ...


def do(lm: LanguageModel, work: Work, on_tokens: OnTokens) -> Done:
    """Train the group's adapters together, then let each answer its questions."""
    seen = 0

    def on_step(tokens: int, _: int) -> None:
        nonlocal seen
        on_tokens(tokens - seen)
        seen = tokens

    start = time.perf_counter()
    trained = iter(adapt(lm, [job for job in work.jobs if job is not None], on_step))
    adapters = [None if job is None else on_top(job.start, next(trained)) for job in work.jobs]
    middle = time.perf_counter()
    asked = [(prompt, adapter) for adapter, own in zip(adapters, work.prompts, strict=True) for prompt in own]
    how = {"max_new_tokens": work.max_new_tokens, "alphabet": work.alphabet, "stop": work.stop}
    said = iter(generate(lm, [p for p, _ in asked], [a for _, a in asked], **how) if asked else [])
    answered = time.perf_counter()
    golds = work.golds or ((),) * len(adapters)
    read = [(gold, adapter) for adapter, own in zip(adapters, golds, strict=True) for gold in own]
    losses = iter(answer_losses(lm, [g for g, _ in read], [a for _, a in read]) if read else [])
    loops = tuple(
        Trained(
            losses=tuple(adapter.losses) if adapter else (),
            tokens=adapter.tokens if adapter else 0,
            answers=tuple(next(said) for _ in own),
            gold_losses=tuple(next(losses) for _ in gold),
        )
        for adapter, own, gold in zip(adapters, work.prompts, golds, strict=True)
    )
    return Done(loops, middle - start, answered - middle, time.perf_counter() - answered)


class Here:
    """The engine of one process: groups run one after another on the model given, whose weights are the policy's."""

    def __init__(self, lm: LanguageModel) -> None:
        self.lm = lm

    def run(self, works: Sequence[Work], on_tokens: OnTokens, check: Callable[[], None]) -> Iterator[tuple[int, Done]]:
        """See `Engine`."""
        for index, work in enumerate(works):
            check()
            yield index, do(self.lm, work, on_tokens)

    def take_up(self, folder: Path) -> None:
        """See `Engine`; the caller has given the model its new weights already."""

    def close(self) -> None:
        """See `Engine`."""
