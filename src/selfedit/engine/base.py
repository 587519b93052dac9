"""What an engine is given and what it gives back: plain data that can cross to another process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from selfedit.inner.job import AdaptJob
from selfedit.lm.generate import Completion
from selfedit.lm.likelihood import Gold
from selfedit.lm.lora import Adapter
from selfedit.lm.rules import Decoding, Stop

if TYPE_CHECKING:
    from selfedit.lm.load import LanguageModel

OnTokens = Callable[[int], None]
"""Called with the training tokens done since the last call."""


class Answering(Protocol):
    """Answers under adapters somewhere else than where they were trained. It crosses to workers by
    pickle.
    """

    def ready(self, lm: LanguageModel) -> None:
        """See that answers can be had, before anything is trained for them."""
        ...

    def answers(
        self,
        lm: LanguageModel,
        prompts: Sequence[tuple[int, ...]],
        adapters: Sequence[Adapter | None],
        decoding: Decoding,
    ) -> list[Completion]:
        """One completion a prompt, each under its adapter; ``lm`` is the worker's model."""
        ...


@dataclass(frozen=True)
class TrialBatch:
    """A group of inner loops, trained together and asked together.

    Attributes:
        jobs: one inner loop each; None adapts nothing, the model answers as it is.
        prompts: for each job, the token ids of the questions its adapted model is asked.
        max_new_tokens: the longest answer.
        alphabet: the only tokens an answer is made of; None for all.
        stop: ends an answer besides the model's own end of text.
        golds: for each job, the answers whose likelihood under its adapted model is asked; nothing
            asks for none.
        rows: adapters trained at once; all, if not given.
        answering: who answers; the worker itself if nobody is named.
    """

    # Plain data throughout: it crosses to a worker by pickle, and a ledger row is made of it.
    jobs: tuple[AdaptJob | None, ...]
    prompts: tuple[tuple[tuple[int, ...], ...], ...]
    max_new_tokens: int
    alphabet: tuple[int, ...] | None = None
    stop: Stop | None = None
    golds: tuple[tuple[Gold, ...], ...] = ()
    rows: int | None = None
    answering: Answering | None = None


@dataclass(frozen=True)
class Trained:
    """One finished inner loop: its loss at every step, its training tokens, its answers, its gold
    answers' loss.
    """

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


@dataclass(frozen=True)
class Writing:
    """Texts to be written by the current policy: arguments of `selfedit.lm.generate.generate`. A
    grammar is not among them: its state stays in the process that made it.
    """

    prompts: tuple[tuple[int, ...], ...]
    adapters: tuple[Adapter | None, ...]
    max_new_tokens: int
    temperature: float
    top_p: float
    seeds: tuple[int, ...] | None
    alphabet: tuple[int, ...] | None
    stop: Stop | None


@dataclass(frozen=True)
class Reading:
    """Texts whose marked tokens' mean loss is asked for, each under its adapter or none."""

    texts: tuple[Gold, ...]
    adapters: tuple[Adapter | None, ...]


@dataclass(frozen=True)
class Room:
    """The memory that inner loops have.

    Attributes:
        total, free: bytes, of the device of one worker.
        sharing: workers that have this memory together.
        device: its kind, as torch names it.
    """

    total: int
    free: int
    sharing: int
    device: str


class Engine(Protocol):
    """Runs groups of inner loops on the current policy."""

    workers: int
    """Groups that run at the same time."""

    def run(
        self, batches: Sequence[TrialBatch], on_tokens: OnTokens, check: Callable[[], None]
    ) -> Iterator[tuple[int, Done]]:
        """Yield (index, result) as groups finish, in any order; ``check`` is called between steps
        and may raise.
        """
        ...

    def write(self, works: Sequence[Writing]) -> list[list[Completion]]:
        """The completions of every piece of work, in their order, worked on side by side."""
        ...

    def read(self, works: Sequence[Reading]) -> list[list[float]]:
        """The losses of every piece of work, in nats a token."""
        ...

    def room(self) -> Room:
        """The memory there is for a worker's inner loops."""
        ...

    def load_weights(self, folder: Path) -> None:
        """Go on with the weights of a merged policy's model folder."""
        ...

    def close(self) -> None:
        """Let go of whatever the engine holds."""
        ...
