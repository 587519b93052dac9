"""The policy's own training example, the same for every task."""

from __future__ import annotations

from selfedit.inner.job import TrainSequence
from selfedit.lm.load import LanguageModel


def completion(lm: LanguageModel, prompt: tuple[int, ...], text: str) -> TrainSequence:
    """A prompt for a self-edit and the self-edit with its end, loss on the latter."""
    # It goes on from the prompt: a tokenizer's own space at a text's beginning would be a token
    # more.
    written = (*lm.encode_more(text), lm.end_id)
    return TrainSequence((*prompt, *written), (*[False] * len(prompt), *[True] * len(written)))
