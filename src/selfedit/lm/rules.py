"""What a row may write and when it has ended, beyond the model's own end of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Stop = Callable[[Sequence[int]], bool]
"""Told the tokens a row has written: whether it has ended. A module's function or class, for workers are sent it."""


class TokenRule(Protocol):
    """One row's grammar: asked which tokens may come next, told which one came. A new one for each
    row.
    """

    @property
    def done(self) -> bool:
        """Whether the row has ended; it is asked nothing more then."""
        ...

    def allowed(self, mask: NDArray[np.bool_]) -> None:
        """Write into ``mask`` ``[V]`` which tokens may come next: at least one."""
        ...

    def advance(self, token: int) -> None:
        """Take the token that came."""
        ...


@dataclass(frozen=True)
class Decoding:
    """How answers are decoded.

    Attributes:
        max_new_tokens: the longest answer.
        alphabet: the only tokens an answer is made of; None for all.
        stop: ends an answer besides the model's own end of text.
    """

    max_new_tokens: int
    alphabet: tuple[int, ...] | None = None
    stop: Stop | None = None
