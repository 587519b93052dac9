"""Which document a question is about: by its words' stems, weighed by how much they say.

A word's information is what the model's own vocabulary says about it. Byte-pair merges are made in
the order of frequency, so a token's number stands for its rank, and by Zipf's law (1935) a word of
rank r says about log r nats; a name that takes several tokens says as much as they do together, and
no less than the vocabulary's rarest word. So "what" weighs nothing and "Morgenroth" a lot, in any
language the vocabulary was made from, without a list of words.

A vocabulary too small to hold words (bytes, letters) ranks none; there the project's everyday prose
says which words are common.

Passages are ranked as BM25 does (Robertson and Zaragoza 2009, equation 3.15), with that information
as a further weight. A question goes to the first passage's document if the stems that it shares say
at least `LEAST` nats together, else to none: a share of the question would let short questions
through on one common word.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import snowballstemmer

from selfedit.retention.general import gate_texts, measured_texts

LEAST = 5.0
"""Chosen on 80 paraphrased and 40 foreign questions about the passages of corpus:learn."""
_COMMON = 300  # a token below this number says nothing: bytes, articles, prepositions
_WORDS = 8192  # a vocabulary below this size holds few whole words
_RANKS = 50_000  # words that a usual vocabulary holds
_K1, _B = 1.2, 0.75
_WORD = re.compile(r"\w+")
# Scripts that put no spaces between words: pairs of letters stand for words.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_STEM = lru_cache(200_000)(snowballstemmer.stemmer("english").stemWord)

Encode = Callable[[str], Sequence[int]]


class Route(NamedTuple):
    """Where a question goes.

    Attributes:
        document: its number.
        nats: information of the stems that the question shares with its best passage.
    """

    document: int
    nats: float


class DocumentRouter:
    """Routes questions to documents.

    Args:
        documents: the texts of each: its passages, and what the model wrote about them.
        encode: the model's tokenizer: text to token ids, none of them special.
        vocabulary: how many ids it has.
        least: nats that a question must share; below it the question goes to no document.
    """

    def __init__(
        self,
        documents: Sequence[Sequence[str]],
        encode: Encode,
        vocabulary: int,
        least: float = LEAST,
    ) -> None:
        self._encode = lru_cache(200_000)(encode)
        self._rarest = math.log(max(vocabulary, _RANKS) / _COMMON)
        self._everyday: frozenset[str] | None = None
        if vocabulary < _WORDS:
            prose = [*measured_texts(), *gate_texts()]
            self._everyday = frozenset(word for text in prose for word, _ in stems(text))
        self._least = least
        self._owner: list[int] = []  # of each passage, its document
        lengths: list[int] = []
        holders: dict[str, tuple[list[int], list[int]]] = {}  # stem: passages, and how often each
        for number, texts in enumerate(documents):
            for text in texts:
                counts = Counter(stem for _, stem in stems(text))
                for stem, times in counts.items():
                    passages, often = holders.setdefault(stem, ([], []))
                    passages.append(len(self._owner))
                    often.append(times)
                self._owner.append(number)
                lengths.append(counts.total())
        relative = np.array(lengths) / max(1.0, float(np.mean(lengths))) if lengths else np.zeros(0)
        self._damping = _K1 * (1 - _B + _B * relative)  # [passages]
        self._holders = {
            stem: (np.array(passages), np.array(often, dtype=float))
            for stem, (passages, often) in holders.items()
        }

    def route(self, question: str) -> Route | None:
        """The document that a question is about; of equals the first; None for none."""
        if not self._owner:
            return None
        scores = np.zeros(len(self._owner))
        shared = np.zeros(len(self._owner))
        for stem, nats in sorted(self._information(question).items()):
            if stem not in self._holders:
                continue
            passages, often = self._holders[stem]
            rarity = math.log((1 + len(self._owner)) / len(passages))
            saturated = often * (1 + _K1) / (often + self._damping[passages])
            scores[passages] += nats * rarity * saturated
            shared[passages] += nats
        best = int(scores.argmax())
        nats = float(shared[best])
        return Route(self._owner[best], nats) if nats >= self._least else None

    def is_follow_up(self, question: str) -> bool:
        """Whether a question's words together say too little to find any document by, as those of
        "And when?" do; one that says enough and finds none is about something else.
        """
        return sum(self._information(question).values()) < self._least

    def _information(self, text: str) -> dict[str, float]:
        """Nats of each stem of a text."""
        nats: dict[str, float] = {}
        for word, stem in stems(text):
            nats[stem] = max(nats.get(stem, 0.0), self._nats(word))
        return nats

    def _nats(self, word: str) -> float:
        """Information of a word: of its commoner form, as written small or with a capital."""
        if self._everyday is not None:
            return 0.0 if word in self._everyday else self._rarest
        return min(self._nats_of_form(f" {form}") for form in (word, word.capitalize()))

    def _nats_of_form(self, text: str) -> float:
        tokens = self._encode(text)
        together = sum(math.log(max(token, _COMMON) / _COMMON) for token in tokens)
        return together if len(tokens) < 2 else max(together, self._rarest)


def stems(text: str) -> Iterator[tuple[str, str]]:
    """Each word, case folded, and its stem; pairs of letters where words are not spaced."""
    for word in _WORD.findall(text.casefold().replace("’", "'").replace("'s", "")):
        if len(word) > 1 and _UNSPACED.search(word):
            for start in range(len(word) - 1):
                yield word[start : start + 2], word[start : start + 2]
        else:
            yield word, _STEM(word)
