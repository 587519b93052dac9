"""Priming: one pass over tasks made from rules, so that a small model knows what a grid puzzle
looks like.

The paper does not prime. Nothing of ARC is used: the tasks come from `rule_book.py`. A sequence
shows a rule's pairs one after the other; every output but the first carries loss, since nothing
says yet what the first should be. Only some families of rules are used, so that tasks of the others
can be held out.
"""

from __future__ import annotations

from collections.abc import Iterator

from selfedit.config import PrimeSettings
from selfedit.errors import UsageError
from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
from selfedit.lm.lora import LoraSpec
from selfedit.tasks.arc.grids import INPUT, OUTPUT, grid_symbols
from selfedit.tasks.arc.rules import rule_tasks, rules_of
from selfedit.tasks.arc.task import ArcTask
from selfedit.tasks.arc.tokens import GridTokens


def priming_job(settings: PrimeSettings, tokens: GridTokens, *, alphabet: bool) -> AdaptJob:
    """The training of a priming, the same for the same arguments.

    Args:
        settings: how much, and how.
        tokens: the symbols in the model's vocabulary.
        alphabet: loss over the grid tokens alone.

    Raises:
        UsageError: not one task fits into so many tokens.
    """
    sequences = list(priming_sequences(settings, tokens))
    if not sequences:
        raise UsageError(
            f"no task fits into {settings.tokens} tokens",
            where="arc.prime.tokens",
            fix="give 2000 or more",
        )
    optim = OptimSpec(lr=settings.lr, epochs=1, batch_size=settings.batch_size, schedule="linear")
    lora = LoraSpec(**settings.lora.model_dump())
    return AdaptJob(
        sequences, lora, optim, settings.seed, alphabet=tokens.ids if alphabet else None
    )


def priming_sequences(settings: PrimeSettings, tokens: GridTokens) -> Iterator[TrainSequence]:
    """Sequences of tasks made from rules, as many as the tokens allow."""
    left = settings.tokens
    for task in rule_tasks(settings.seed, rules_of(settings.families), side=settings.side):
        sequence = _sequence(task, tokens)
        # The bound is of tokens, not tasks: tasks differ in size by a factor of ten.
        left -= len(sequence.ids)
        if left < 0:
            return
        yield sequence


def _sequence(task: ArcTask, tokens: GridTokens) -> TrainSequence:
    symbols: list[int] = []
    loss: list[bool] = []
    for number, pair in enumerate((*task.train, *task.test)):
        question, answer = [INPUT, *grid_symbols(pair.input), OUTPUT], grid_symbols(pair.output)
        symbols += [*question, *answer]
        # Nothing before the first output says what the rule is.
        loss += [*[False] * len(question), *[number > 0] * len(answer)]
    return TrainSequence(tokens.text_ids(symbols), (*[False] * len(tokens.bos), *loss))
