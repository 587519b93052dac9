"""What a row may write and when it has ended, beyond the model's own end of text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from selfedit.errors import UsageError

Stop = Callable[[Sequence[int]], bool]
"""Told the tokens a row has written: whether it has ended. A module's function or class, for
workers are sent it.
"""


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


@runtime_checkable
class WrittenRule(TokenRule, Protocol):
    """A rule that can also be written down, for a server that holds a text to it."""

    def lark(self, decode: Callable[[Sequence[int]], str]) -> str:
        """The grammar in llguidance's form of Lark; ``decode`` gives the text of token ids."""
        ...

    def again(self) -> TokenRule:
        """The same rule at the beginning of a text."""
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


def allowed_tokens(
    rule: TokenRule, sampled: Sequence[int], vocabulary: int
) -> list[NDArray[np.int64]]:
    """What a rule allowed before each token of a text that was sampled under it, ids in order.

    One id alone is no choice: the policy's distribution there is that token.

    Args:
        rule: a new one, at the beginning of a text.
        sampled: every token, in order.
        vocabulary: logits of a position.

    Raises:
        UsageError: the rule does not allow this text; it was sampled under another one.
    """
    allowed: list[NDArray[np.int64]] = []
    # The same array each time: a text has hundreds of such places, each with V ids.
    every = np.arange(vocabulary)  # one for all places behind a header, where all is allowed
    for number, token in enumerate(sampled, start=1):
        mask = np.ones(vocabulary, dtype=np.bool_)
        # A rule that has ended is not asked again: a token after its end is refused below.
        if not rule.done:
            rule.allowed(mask)
        if rule.done or not (0 <= token < vocabulary and mask[token]):
            what = f"token {number} of {len(sampled)} is not allowed by the grammar of self-edits"
            raise UsageError(what, fix="learn from self-edits that were sampled under this grammar")
        allowed.append(every if mask.all() else np.flatnonzero(mask))
        rule.advance(token)
    return allowed


Node = dict[int, "Node"]
"""What may follow: a token and what may follow that; empty at the end of a text."""


class TokenTree:
    """A finite list of texts as a tree of tokens: where they part is a choice, all else is forced.

    Args:
        texts: token ids of each.

    Raises:
        UsageError: there is none, two are equal, or one is another's beginning.
    """

    def __init__(self, texts: Sequence[Sequence[int]]) -> None:
        self.texts = tuple(tuple(text) for text in texts)
        self.root: Node = {}
        ends: list[Node] = []
        for text in self.texts:
            node = self.root
            for token in text:
                node = node.setdefault(token, {})
            ends.append(node)
        # A text that is another's beginning ends at a node with more below it; equal texts end at
        # one node.
        if not self.root or any(ends) or len({id(end) for end in ends}) < len(ends):
            what = "self-edits cannot be told apart" if self.texts else "there is no self-edit"
            raise UsageError(what, fix="list different self-edits, each once, none of them empty")

    def row(self) -> OneOf:
        """A new rule at the beginning of a text."""
        return OneOf(self)


class OneOf:
    """The rule that a text is one of a finite list: see `TokenRule`."""

    def __init__(self, tree: TokenTree) -> None:
        self.tree = tree
        self._node = tree.root

    @property
    def done(self) -> bool:
        """Whether the text is whole."""
        return not self._node

    def allowed(self, mask: NDArray[np.bool_]) -> None:
        """See `TokenRule`."""
        mask[:] = False
        mask[list(self._node)] = True

    def advance(self, token: int) -> None:
        """See `TokenRule`."""
        self._node = self._node[token]

    def lark(self, decode: Callable[[Sequence[int]], str]) -> str:
        """See `WrittenRule`."""
        texts = [json.dumps(decode(text), ensure_ascii=False) for text in self.tree.texts]
        return f"start: {' | '.join(texts)}"

    def again(self) -> OneOf:
        """See `WrittenRule`."""
        return self.tree.row()
