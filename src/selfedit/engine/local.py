"""The engine of this process, and how a batch of trials is run on a model."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from selfedit.engine.base import Done, OnTokens, Reading, Room, Trained, TrialBatch, Writing
from selfedit.inner.adapt import adapt
from selfedit.lm.generate import Completion, generate
from selfedit.lm.likelihood import answer_losses
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.memory import memory_bytes
from selfedit.lm.rules import Decoding
from selfedit.lm.stack import on_top

_LOG = logging.getLogger(__name__)


def run_batch(lm: LanguageModel, work: TrialBatch, on_tokens: OnTokens) -> Done:
    """Train the group's adapters together, then let each answer its questions."""
    reported = 0

    def on_step(tokens: int, _: int) -> None:
        # adapt tells all tokens so far, the engine's caller wants those since the last call.
        nonlocal reported
        on_tokens(tokens - reported)
        reported = tokens

    if work.answering is not None:
        work.answering.ready(lm)
    start = time.perf_counter()
    jobs = [job for job in work.jobs if job is not None]
    # Adapters stay on the device: they answer at once, and go back to the host only if they are
    # kept.
    trained = iter(adapt(lm, jobs, on_step, rows=work.rows, on_device=True, on_halved=_say_halved))
    # Jobs without training keep their place among the answers.
    adapters = [None if job is None else on_top(job.start, next(trained)) for job in work.jobs]
    middle = time.perf_counter()
    # All questions of all adapters in one call: the batch is as large as it can be.
    questions = [
        (prompt, adapter)
        for adapter, prompts in zip(adapters, work.prompts, strict=True)
        for prompt in prompts
    ]
    completions = iter(_completions(lm, work, questions) if questions else [])
    answered = time.perf_counter()
    # One empty tuple for each trial where no gold answer's loss is asked for.
    golds = work.golds or ((),) * len(adapters)
    gold_rows = [
        (gold, adapter)
        for adapter, of_adapter in zip(adapters, golds, strict=True)
        for gold in of_adapter
    ]
    losses = iter(
        answer_losses(lm, [g for g, _ in gold_rows], [a for _, a in gold_rows]) if gold_rows else []
    )
    loops = tuple(
        Trained(
            losses=tuple(adapter.losses) if adapter else (),
            tokens=adapter.tokens if adapter else 0,
            answers=tuple(next(completions) for _ in prompts),
            gold_losses=tuple(next(losses) for _ in gold),
        )
        for adapter, prompts, gold in zip(adapters, work.prompts, golds, strict=True)
    )
    return Done(loops, middle - start, answered - middle, time.perf_counter() - answered)


def _completions(
    lm: LanguageModel, work: TrialBatch, questions: Sequence[tuple[tuple[int, ...], Adapter | None]]
) -> list[Completion]:
    prompts, adapters = [prompt for prompt, _ in questions], [adapter for _, adapter in questions]
    decoding = Decoding(work.max_new_tokens, work.alphabet, work.stop)
    if work.answering is not None:
        return work.answering.answers(lm, prompts, adapters, decoding)
    return generate(lm, prompts, adapters, **vars(decoding))


def _say_halved(rows: int) -> None:
    _LOG.warning("memory ran out: from here on this group trains %d adapters at once", rows)


def run_writing(lm: LanguageModel, work: Writing) -> list[Completion]:
    """Write the texts of one piece of work."""
    return generate(lm, **vars(work))


def run_reading(lm: LanguageModel, work: Reading) -> list[float]:
    """The losses of one piece of work."""
    return answer_losses(lm, work.texts, work.adapters)


Work = Literal["batch", "write", "read"]
"""What a worker can be given: a `TrialBatch`, a `Writing`, a `Reading`."""


def run_work(lm: LanguageModel, kind: Work, work: Any, on_tokens: OnTokens) -> Any:
    """Do one piece of work in a worker."""
    if kind == "write":
        return run_writing(lm, work)
    if kind == "read":
        return run_reading(lm, work)
    return run_batch(lm, work, on_tokens)


class LocalEngine:
    """The engine of one process: groups run one after another on the model given, whose weights are
    the policy's.
    """

    workers = 1

    def __init__(self, lm: LanguageModel) -> None:
        self.lm = lm

    def run(
        self, batches: Sequence[TrialBatch], on_tokens: OnTokens, check: Callable[[], None]
    ) -> Iterator[tuple[int, Done]]:
        """See `Engine`."""
        for index, batch in enumerate(batches):
            check()
            yield index, run_batch(self.lm, batch, on_tokens)

    def write(self, works: Sequence[Writing]) -> list[list[Completion]]:
        """See `Engine`."""
        return [run_writing(self.lm, work) for work in works]

    def read(self, works: Sequence[Reading]) -> list[list[float]]:
        """See `Engine`."""
        return [run_reading(self.lm, work) for work in works]

    def room(self) -> Room:
        """See `Engine`."""
        return Room(*memory_bytes(self.lm.device), sharing=1, device=self.lm.device.type)

    def load_weights(self, folder: Path) -> None:
        """See `Engine`; the caller has given the model its new weights already."""

    def close(self) -> None:
        """See `Engine`."""
