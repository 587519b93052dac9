"""From symbols to a model's tokens: prompts, training sequences, and what they cost.

A prompt is the demonstrations, each as ``I<input>O<output>``, then ``I<test input>O``; the answer
is one grid with its end. So a whole task needs nothing but the 14 symbols of `grids.py`, and both
the loss and the decoding may be restricted to their 14 token ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from selfedit.errors import FormatError
from selfedit.tasks.arc.grids import (
    ALPHABET,
    INPUT,
    OUTPUT,
    AnswerFault,
    Grid,
    grid_symbols,
    parse_symbols,
)
from selfedit.tasks.arc.task import ArcTask, Pair

if TYPE_CHECKING:
    from selfedit.lm.load import LanguageModel

LossOn = Literal["all", "output"]
"""The tokens that carry loss: every one, or those of the last output grid with its end."""


class Encodes(Protocol):
    """The part of a tokenizer that is needed here (any Hugging Face tokenizer has it)."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """The token ids of a text."""
        ...


@dataclass(frozen=True)
class GridTokens:
    """The 14 token ids that stand for the symbols in one model's vocabulary.

    Attributes:
        ids: the token id of each symbol, in the symbols' order.
        bos: what the model's tokenizer puts before a text.
    """

    ids: tuple[int, ...]
    bos: tuple[int, ...] = ()

    @classmethod
    def of_model(cls, lm: LanguageModel) -> GridTokens:
        """Those of a model, as they stand within a text.

        Raises:
            FormatError: the vocabulary has no single token for a symbol.
        """
        return cls._checked([lm.encode_more(symbol) for symbol in ALPHABET], lm.name, lm.bos)

    @classmethod
    def of(cls, tokenizer: Encodes) -> GridTokens:
        """Look the symbols up, one by one.

        Raises:
            FormatError: the vocabulary has no single token for a symbol.
        """
        ids = [tokenizer.encode(character, add_special_tokens=False) for character in ALPHABET]
        return cls._checked(ids, type(tokenizer).__name__)

    @classmethod
    def _checked(
        cls, ids: Sequence[Sequence[int]], where: str, bos: tuple[int, ...] = ()
    ) -> GridTokens:
        for character, token_ids in zip(ALPHABET, ids, strict=True):
            # Grids are looked up symbol by symbol: a symbol of two tokens could not be forced or
            # masked.
            if len(token_ids) != 1:
                what = f"this tokenizer writes {character!r} as {len(token_ids)} tokens"
                fix = (
                    "grids need a vocabulary with one token for each digit, newline, '.', 'I'"
                    " and 'O'"
                )
                raise FormatError(what, where=where, fix=fix)
        return cls(tuple(token_ids[0] for token_ids in ids), bos)

    @cached_property
    def _symbol_of(self) -> dict[int, int]:
        return {token: symbol for symbol, token in enumerate(self.ids)}

    def to_ids(self, symbols: Iterable[int]) -> list[int]:
        """Token ids of symbols, one each."""
        return [self.ids[symbol] for symbol in symbols]

    def text_ids(self, symbols: Iterable[int]) -> tuple[int, ...]:
        """Token ids of symbols as a text of their own: after the tokenizer's beginning of text."""
        return (*self.bos, *self.to_ids(symbols))

    def to_symbols(self, ids: Iterable[int]) -> list[int]:
        """Symbols of token ids; a token that stands for none becomes −1, which no grid holds."""
        return [self._symbol_of.get(int(token), -1) for token in ids]

    def encode(self, grid: Grid) -> list[int]:
        """A grid's token ids, its end included; :meth:`decode` is the exact inverse."""
        return self.to_ids(grid_symbols(grid))

    def parse(self, ids: Iterable[int]) -> Grid | AnswerFault:
        """Read a model's answer strictly: a grid or a reason, never an exception."""
        return parse_symbols(self.to_symbols(ids))

    def decode(self, ids: Iterable[int]) -> Grid:
        """The grid that token ids stand for.

        Raises:
            FormatError: they are not exactly one grid with its end.
        """
        grid = self.parse(ids)
        if isinstance(grid, AnswerFault):
            raise FormatError(
                f"these tokens are not a grid: {grid}", fix="pass the ids of one whole grid"
            )
        return grid


@dataclass(frozen=True)
class GridSequence:
    """A training sequence of symbols.

    Attributes:
        symbols: the prompt and its answer.
        loss_from: the index of the first symbol that carries loss; all later ones do too.
    """

    symbols: tuple[int, ...]
    loss_from: int


def prompt_symbols(demonstrations: Iterable[Pair], query: Grid) -> list[int]:
    """The symbols of a prompt, up to and with the marker the answer follows."""
    symbols: list[int] = []
    for pair in demonstrations:
        symbols += [INPUT, *grid_symbols(pair.input), OUTPUT, *grid_symbols(pair.output)]
    return [*symbols, INPUT, *grid_symbols(query), OUTPUT]


def training_sequence(demonstrations: Iterable[Pair], query: Pair, loss_on: LossOn) -> GridSequence:
    """A prompt with its answer, and where its loss begins.

    With ``"output"`` only the answer carries loss: the demonstrations' outputs are part of the
    prompt.
    """
    prompt = prompt_symbols(demonstrations, query.input)
    return GridSequence(
        (*prompt, *grid_symbols(query.output)), 0 if loss_on == "all" else len(prompt)
    )


def sequence_length(demonstrations: Iterable[Pair], query: Pair) -> int:
    """Tokens of a prompt with its answer, without building them."""
    return sum(_pair_length(pair) for pair in demonstrations) + _pair_length(query)


def count_tokens(task: ArcTask) -> int:
    """Tokens of a task: its demonstrations, and the longest of its test inputs with its answer
    where that is known.
    """
    train_tokens = sum(_pair_length(pair) for pair in task.train)
    outputs: Sequence[Grid | None] = task.solutions or [None] * len(task.inputs)
    test_tokens = [
        _grid_length(grid)
        + (1 if output is None else _grid_length(output))  # without an answer: its marker alone
        for grid, output in zip(task.inputs, outputs, strict=True)
    ]
    return train_tokens + max(test_tokens)


def printed_text(task: ArcTask) -> str:
    """The same content as printed numpy arrays, the form the compact one is measured against."""
    pairs = [*task.train, *task.test[:1]]
    return "\n".join(
        f"input:\n{np.array(pair.input)}\noutput:\n{np.array(pair.output)}" for pair in pairs
    )


def _grid_length(grid: Grid) -> int:
    # One marker, and a symbol more than its cells for each row.
    return 1 + grid.shape[0] * (grid.shape[1] + 1)


def _pair_length(pair: Pair) -> int:
    return _grid_length(pair.input) + _grid_length(pair.output)
