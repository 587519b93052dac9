"""The engine of this process, and how a batch of trials is run on a model."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from selfedit.engine.base import Done, OnTokens, Reading, Trained, TrialBatch, Writing
from selfedit.inner.adapt import adapt
from selfedit.lm.generate import Completion, generate
from selfedit.lm.likelihood import answer_losses
from selfedit.lm.load import LanguageModel
from selfedit.lm.stack import on_top

_LOG = logging.getLogger(__name__)


def run_batch(lm: LanguageModel, work: TrialBatch, on_tokens: OnTokens) -> Done:
    """Train the group's adapters together, then let each answer its questions."""
    seen = 0

    def on_step(tokens: int, _: int) -> None:
        nonlocal seen
        on_tokens(tokens - seen)
        seen = tokens

    start = time.perf_counter()
    jobs = [job for job in work.jobs if job is not None]
    trained = iter(adapt(lm, jobs, on_step, rows=work.rows, on_device=True, on_halved=_say_halved))
    adapters = [None if job is None else on_top(job.start, next(trained)) for job in work.jobs]
    middle = time.perf_counter()
    asked = [
        (prompt, adapter)
        for adapter, own in zip(adapters, work.prompts, strict=True)
        for prompt in own
    ]
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


def _say_halved(rows: int) -> None:
    _LOG.warning("memory ran out: from here on this group trains %d adapters at once", rows)


def run_writing(lm: LanguageModel, work: Writing) -> list[Completion]:
    """Write the texts of one piece of work."""
    return generate(lm, **vars(work))


def run_reading(lm: LanguageModel, work: Reading) -> list[float]:
    """The losses of one piece of work."""
    return answer_losses(lm, work.texts, work.adapters)


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

    def load_weights(self, folder: Path) -> None:
        """See `Engine`; the caller has given the model its new weights already."""

    def close(self) -> None:
        """See `Engine`."""
