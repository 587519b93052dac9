"""Constrained decoding: every sampled self-edit is valid by construction.

A :class:`SelfEditGrammar` is built once for a tokenizer and a specification; each row of each
generate call takes a new :class:`GrammarRow` from it, asks it which tokens are allowed, samples
one, and tells it. Where only one text can follow, the row allows that text's tokens as the
tokenizer itself would cut it: most of a self-edit is such text, and a sampler may take it in one
step (:meth:`GrammarRow.take_forced`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selfedit.errors import UsageError
from selfedit.tasks.arc.parse import Rejection, parse_self_edit
from selfedit.tasks.arc.self_edit import ArcSelfEdit, SelfEditSpec, json_schema
from selfedit.tasks.arc.tools import TOOLBOX, Toolbox
from selfedit.tasks.grammar import NextTokens, TokenGrammar

if TYPE_CHECKING:
    from llguidance import LLMatcher


class SelfEditGrammar:
    """The grammar of a specification's self-edits over one tokenizer's tokens.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        spec: the values a self-edit may hold.
        toolbox: the families it may switch on, as they are now.
        vocabulary: the number of logits a position has, where a model's head is wider than its
            tokenizer.

    Raises:
        Unavailable: llguidance is not installed.
        UsageError: no grammar can be made for this tokenizer.
    """

    def __init__(
        self,
        tokenizer: Any,
        spec: SelfEditSpec,
        toolbox: Toolbox = TOOLBOX,
        *,
        vocabulary: int | None = None,
    ) -> None:
        self.spec, self.toolbox = spec, toolbox
        # Without white space: JSON allows it anywhere, and a policy would have to learn where not.
        schema, compact = json_schema(spec, toolbox), {"whitespace_flexible": False}

        self.lark = f"start: %json {json.dumps(schema | {'x-guidance': compact})}"

        def write(matcher: Any) -> str:
            return matcher.grammar_from_json_schema(schema, overrides=compact)

        self._grammar = TokenGrammar(
            tokenizer, write, vocabulary=vocabulary, without="sample without constraint", where=spec
        )
        self.vocabulary: int = self._grammar.vocabulary

    def row(self) -> GrammarRow:
        """A new row at the beginning of a self-edit. Rows share nothing."""
        return GrammarRow(self, self._grammar.start())

    def text(self, tokens: list[int]) -> str:
        """The text of a row's tokens."""
        return self._grammar.text(tokens)


class GrammarRow:
    """One self-edit on its way: which token may come next, and whether it is whole."""

    def __init__(self, grammar: SelfEditGrammar, matcher: LLMatcher) -> None:
        self._grammar, self._matcher = grammar, matcher
        self._next = NextTokens(grammar.vocabulary)
        # The opening up to the first choice: one text, cut as the tokenizer cuts it.
        self._forced: list[int] = matcher.compute_ff_tokens()
        self.tokens: list[int] = []
        """The tokens so far."""

    @property
    def done(self) -> bool:
        """Whether the self-edit is whole; nothing can follow it."""
        return not self._forced and self._matcher.is_stopped()

    @property
    def forced(self) -> tuple[int, ...]:
        """The tokens that must come next, one after the other; none where there is a choice, or
        after the end.
        """
        return tuple(self._forced)

    def take_forced(self) -> tuple[int, ...]:
        """Take all tokens that must come next, and return them: a sampler may feed them in one
        forward pass.
        """
        forced = self.forced
        if forced:
            # The matcher takes them all at once; nothing is asked of it in between.
            self._matcher.consume_tokens(self._forced)
            self.tokens += forced
            self._forced = []
        return forced

    def allowed(self, mask: NDArray[np.bool_]) -> None:
        """Write into ``mask`` ``[vocabulary]`` which tokens may come next; after the end, none.

        The mask may be longer than the grammar's vocabulary; what lies beyond is not allowed.
        """
        mask[:] = False
        if self._forced:
            # One token of a forced text at a time, so that its tokens are the tokenizer's own.
            mask[self._forced[0]] = True
        elif not self.done:
            mask[: self._grammar.vocabulary] = self._next.of(self._matcher)

    def advance(self, token: int) -> None:
        """Take a sampled token.

        Raises:
            UsageError: the token was not allowed here.
        """
        expected = not self._forced or self._forced[0] == token
        # validate_tokens gives how many of the tokens would be accepted.
        if self.done or not expected or self._matcher.validate_tokens([token]) != 1:
            where = f"token {len(self.tokens) + 1} of a self-edit"
            raise UsageError(
                f"token {token} is not allowed here",
                where=where,
                fix="sample where the mask is true",
            )
        self._matcher.consume_token(token)
        self.tokens.append(token)
        # where the forced text ends there is a choice: only after a choice can more be forced
        self._forced = self._forced[1:] if self._forced else self._matcher.compute_ff_tokens()

    def lark(self, decode: Callable[[Sequence[int]], str]) -> str:
        """See `selfedit.lm.rules.WrittenRule`."""
        return self._grammar.lark

    def again(self) -> GrammarRow:
        """See `selfedit.lm.rules.WrittenRule`."""
        return self._grammar.row()

    @property
    def text(self) -> str:
        """The text so far."""
        return self._grammar.text(self.tokens)

    def result(self) -> ArcSelfEdit | Rejection:
        """The self-edit, read as strictly as any other; a row not done gives a rejection."""
        return parse_self_edit(self.text, self._grammar.spec, self._grammar.toolbox)
