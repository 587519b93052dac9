"""Grids, and their compact text form.

A grid is written row by row, one digit a cell, a newline between rows and a full stop at its end::

    012
    345.

Everything a model reads or writes about ARC is made of 14 **symbols**: the ten digits, :data:`ROW`,
:data:`END`, and the markers :data:`INPUT` and :data:`OUTPUT` put before a grid. A symbol is a
number from 0 to 13, and :data:`ALPHABET` holds the character it is written as. Each is one ASCII
character, because every byte-level vocabulary has a token of its own for it; so token ids are
looked up symbol by symbol (`tokens.py`) and never depend on how a tokenizer merges neighbours (it
would make one token of two newlines, or of three digits).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from selfedit.errors import FormatError

Grid: TypeAlias = NDArray[np.int8]
"""A two-dimensional array of colours 0–9 with sides of 1–30 cells, ``[rows, columns]``."""

MAX_SIDE = 30
COLOURS = 10

ROW = 10
"""The symbol between two rows."""
END = 11
"""The symbol after a grid's last row: without it an answer counts as cut off."""
INPUT = 12
"""The symbol before an input grid."""
OUTPUT = 13
"""The symbol before an output grid; a prompt ends with it."""
ALPHABET = "0123456789\n.IO"
"""The character of each symbol."""

# One symbol a cell, and one after each row: the last row's is the end.
MAX_GRID_SYMBOLS = MAX_SIDE * (MAX_SIDE + 1)
"""Symbols of the largest grid, its end included: the bound for an answer, whatever the true
answer's size.
"""

_SYMBOL_OF = {character: symbol for symbol, character in enumerate(ALPHABET)}


class AnswerFault(StrEnum):
    """Why a model's answer is not a grid."""

    NOT_A_GRID = "not a grid"
    CUT_OFF = "cut off"
    RAGGED = "ragged"
    OVERSIZED = "oversized"


def as_grid(value: object, *, where: object = None) -> Grid:
    """Check ``value`` and return it as a read-only grid.

    Args:
        value: rows of whole numbers: a two-dimensional integer array, or a list of lists as read
            from JSON.
        where: the place named in an error, such as a file and a pair's number.

    Raises:
        FormatError: ``value`` is ragged, empty, over 30 cells on a side, or holds anything but
            whole numbers 0–9.
    """
    array = _integers(value, where)
    if array.min() < 0 or array.max() >= COLOURS:
        row, column = np.argwhere((array < 0) | (array >= COLOURS))[0]
        what = f"the colour at row {row + 1}, column {column + 1} is {array[row, column]}"
        raise FormatError(what, where=where, fix="use the colours 0 to 9")
    grid = array.astype(np.int8)
    # Grids are shared by tasks, examples and prompts: nobody may write into one.
    grid.setflags(write=False)
    return grid


def fits(array: NDArray[np.integer]) -> bool:
    """Whether an augmented array is still at most 30 × 30."""
    return max(array.shape) <= MAX_SIDE


def grid_key(grid: Grid) -> tuple[tuple[int, ...], bytes]:
    """A hashable value that is the same for equal grids and for no others."""
    # The shape belongs to it: equal bytes may be 2 × 3 or 3 × 2.
    return grid.shape, grid.astype(np.int8).tobytes()


def grid_symbols(grid: Grid) -> list[int]:
    """The symbols of a grid: ``rows · (columns + 1)`` of them, the end included."""
    rows, columns = grid.shape
    symbols = np.full((rows, columns + 1), ROW)  # [rows, columns + 1], the last column separates
    symbols[:, :-1] = grid
    symbols[-1, -1] = END
    return symbols.ravel().tolist()


def parse_symbols(symbols: Iterable[int]) -> Grid | AnswerFault:
    """Read a model's answer strictly; whatever it holds, the result is a grid or a reason, never an
    exception.

    Anything but digits and row separators before the end, or anything after it, is no grid. An
    answer with more than 30 rows or a row of more than 30 cells is oversized, and one whose whole
    rows differ in length is ragged, even
    when it was also cut off: it could not have become a grid. The size of the true answer plays no
    part.
    """
    answer = list(symbols)
    ended = END in answer
    # Up to the first end: what stands behind it makes the answer no grid.
    body = answer[: answer.index(END)] if ended else answer
    trailing = answer[len(body) + 1 :]
    if (
        trailing
        or not all(0 <= symbol <= ROW for symbol in body)
        or all(symbol == ROW for symbol in body)
    ):
        return AnswerFault.NOT_A_GRID
    rows = _split_rows(body)
    if len(rows) > MAX_SIDE or max(map(len, rows)) > MAX_SIDE:
        return AnswerFault.OVERSIZED
    first, last = len(rows[0]), len(rows[-1])
    # The last row may be short only where the answer was cut off within it.
    if any(len(row) != first for row in rows[:-1]) or last > first or (ended and last < first):
        return AnswerFault.RAGGED
    return as_grid(rows) if ended else AnswerFault.CUT_OFF


def parse_text(text: str) -> Grid | AnswerFault:
    """Read a model's answer from its text; see :func:`parse_symbols`."""
    return parse_symbols(symbols_of(text))


def encode(grid: Grid) -> str:
    """A grid's text form; :func:`decode` is its exact inverse."""
    return symbols_text(grid_symbols(grid))


def decode(text: str) -> Grid:
    """The grid a text form stands for.

    Raises:
        FormatError: the text is not exactly one grid with its end.
    """
    grid = parse_text(text)
    if isinstance(grid, AnswerFault):
        fix = "write digits, a newline between rows and a full stop at the end"
        raise FormatError(f"this text is not a grid: {grid}", where=repr(text[:80]), fix=fix)
    return grid


def symbols_text(symbols: Iterable[int]) -> str:
    """The text of a sequence of symbols, one character each."""
    return "".join(ALPHABET[symbol] for symbol in symbols)


def symbols_of(text: str) -> list[int]:
    """The symbols of a text; a character that stands for none becomes −1, which no grid holds."""
    return [_SYMBOL_OF.get(character, -1) for character in text]


def _split_rows(body: Sequence[int]) -> list[list[int]]:
    rows: list[list[int]] = [[]]
    for symbol in body:
        if symbol == ROW:
            rows.append([])
        else:
            rows[-1].append(symbol)
    return rows


def _integers(value: object, where: object) -> NDArray[np.int64]:
    """``value`` as a two-dimensional array of whole numbers with sides of 1–30."""
    # As Python's own numbers: numpy would have rounded and wrapped before we look.
    rows = value.tolist() if isinstance(value, np.ndarray) else value
    if (
        not isinstance(rows, list | tuple)
        or not rows
        or not all(isinstance(row, list | tuple) for row in rows)
    ):
        raise FormatError(
            "a grid is not a list of rows", where=where, fix="write it as [[0, 1], [2, 3]]"
        )
    lengths = [len(row) for row in rows]
    odd = next((n for n, length in enumerate(lengths) if length != lengths[0]), None)
    if odd is not None:
        what = (
            f"a grid is ragged: row 1 has {lengths[0]} cells and row {odd + 1} has {lengths[odd]}"
        )
        raise FormatError(what, where=where, fix="give all rows the same length")
    if not 1 <= len(rows) <= MAX_SIDE or not 1 <= lengths[0] <= MAX_SIDE:
        what = f"a grid has {len(rows)} × {lengths[0]} cells"
        raise FormatError(what, where=where, fix=f"sides must be 1 to {MAX_SIDE} cells")
    for n, row in enumerate(rows):
        for cell in row:
            # bool is an int to Python, and a huge int would overflow the array below
            if type(cell) is not int or abs(cell) > 10**9:
                what = f"row {n + 1} of a grid holds {cell!r:.40}"
                raise FormatError(what, where=where, fix="cells must be whole numbers from 0 to 9")
    return np.array(rows, dtype=np.int64)
