"""A grammar over a tokenizer's tokens, by llguidance: what the self-edits of both domains are held
to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selfedit.errors import Unavailable, UsageError

if TYPE_CHECKING:
    from llguidance import LLMatcher


class TokenGrammar:
    """A grammar, made once; `start` gives every row a matcher of its own.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        write: makes llguidance's grammar, given its matcher class.
        vocabulary: the number of logits a position has, where a model's head is wider than its
            tokenizer.
        without: what to do where llguidance is not installed, besides installing it.
        where: names what the grammar is of, for messages.

    Raises:
        Unavailable: llguidance is not installed.
        UsageError: no grammar can be made for this tokenizer, or none of this kind.
    """

    def __init__(
        self,
        tokenizer: Any,
        write: Callable[[type[LLMatcher]], str],
        *,
        vocabulary: int | None = None,
        without: str,
        where: object = None,
    ) -> None:
        try:
            import llguidance.hf
        except ImportError as error:
            fix = f"pip install 'selfedit[arc]', or {without}"
            raise Unavailable(
                "constrained decoding needs the package llguidance", fix=fix
            ) from error
        try:
            self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary)
        except ValueError as error:
            fix = "use a fast tokenizer with an end-of-text token"
            raise UsageError(f"no grammar for this tokenizer: {error}", fix=fix) from error
        self.vocabulary: int = self._tokenizer.vocab_size
        # Made once: parsing a schema takes as long as hundreds of tokens.
        self._first = llguidance.LLMatcher(self._tokenizer, write(llguidance.LLMatcher))
        if self._first.is_error():
            raise UsageError(
                f"no grammar for this specification: {self._first.get_error()}", where=where
            )

    def start(self) -> LLMatcher:
        """A matcher at the beginning; matchers share nothing."""
        # A copy of the fresh matcher costs little, making one anew does not.
        return self._first.deep_copy()

    def text(self, tokens: list[int]) -> str:
        """The text of tokens."""
        return self._tokenizer.decode_str(tokens)


class NextTokens:
    """Reads which tokens a matcher allows next; one a row, for its buffer is used again.

    Args:
        vocabulary: the grammar's.
    """

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary
        # One bit a token, in words of 32.
        self._bits = np.empty((1, (vocabulary + 31) // 32), dtype=np.int32)

    def of(self, matcher: LLMatcher) -> NDArray[np.uint8]:
        """1 where a token may come next, ``[vocabulary]``."""
        from llguidance.numpy import fill_next_token_bitmask

        fill_next_token_bitmask(matcher, self._bits)
        # Little-endian bits within a byte, as llguidance writes them.
        return np.unpackbits(
            self._bits.view(np.uint8)[0], count=self._vocabulary, bitorder="little"
        )
