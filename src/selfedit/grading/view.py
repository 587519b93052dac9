"""A text as the calibrated grader sees it: tokens, stems, content words, names, numbers; replies
cut into sentences.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from selfedit.grading.lexicon import STOP_WORDS, stem
from selfedit.grading.quantities import Quantities, quantities
from selfedit.grading.text import answer_tokens, normalise

# A base model does not stop after its answer: it goes on with a blank line, another question, or a
# made-up dialogue.
_RUN_ON = re.compile(
    r"\n[^\S\n]*\n"
    r"|\n[^\S\n]*(?:Question|Q|Passage|Topic|Answer|A|User|Assistant|Human)\b\s*:|\nYou are "
)
_LEADING_PHRASE = re.compile(r"^\s*(?:(?:Final )?Answer|A)\s*:\s*", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[^\W\d_]{2}[.!?])[\"”’)]*\s+(?=[\"“(]?[A-Z0-9])|(?<=[。！？])|\n+")
_CAPITALISED = re.compile(r"[A-Z][\w'’.-]*\w|[A-Z]")
_BEFORE_DETAIL = (
    "of in on at by for from with to into between among through during that which who as over"
)
_PREPOSITIONS = frozenset(_BEFORE_DETAIL.split())


@dataclass(frozen=True)
class View:
    """One text, analysed once.

    Attributes:
        raw: the text.
        tokens: normalised tokens; initials in a row are one (``t j ward`` -> ``tj ward``).
        stems: their stems, in order.
        content: stems of the content words, or of all words where there are no others.
        names: stems of the capitalised words.
        head: the stem that heads the first phrase (``granules found in the space`` -> ``granul``),
            "" for no words.
        numbers: what the text says in numbers.
    """

    raw: str
    tokens: tuple[str, ...]
    stems: tuple[str, ...]
    content: tuple[str, ...]
    names: frozenset[str]
    head: str
    numbers: Quantities

    @property
    def stem_set(self) -> frozenset[str]:
        """The stems, each once."""
        return _as_set(self.stems)

    @property
    def content_set(self) -> frozenset[str]:
        """The content stems, each once."""
        return _as_set(self.content)


@lru_cache(maxsize=32768)
def _as_set(stems: tuple[str, ...]) -> frozenset[str]:
    return frozenset(stems)


@lru_cache(maxsize=16384)
def viewed_text(text: str) -> View:
    """Analyse a text; any text, also an empty one."""
    tokens = _join_initials(_view_tokens(text))
    stems = tuple(stem(token) for token in tokens)
    content = (
        tuple(s for s, token in zip(stems, tokens, strict=True) if token not in STOP_WORDS) or stems
    )
    names = (
        stem(token)
        for word in _CAPITALISED.findall(text)
        for token in _view_tokens(word)
        if token not in STOP_WORDS
    )
    return View(
        text, tokens, stems, content, frozenset(names), _head_words(tokens), quantities(tokens)
    )


def _view_tokens(text: str) -> list[str]:
    return answer_tokens(text) if normalise(text) else []


def _join_initials(tokens: list[str]) -> tuple[str, ...]:
    out: list[str] = []
    initials = False
    for token in tokens:
        single = len(token) == 1 and token.isascii() and token.isalpha()
        if single and initials:
            out[-1] += token
        else:
            out.append(token)
        initials = single
    return tuple(out)


def _head_words(tokens: tuple[str, ...]) -> str:
    head = ""
    for token in tokens:
        if token in _PREPOSITIONS and head:
            break
        if token not in STOP_WORDS:
            head = token
    return stem(head or (tokens[-1] if tokens else ""))


def answer_body(answer: str) -> str:
    """The answer without a leading ``Answer:`` and without what a model rambles on with."""
    bare = _LEADING_PHRASE.sub("", answer).strip()
    return _RUN_ON.split(bare, maxsplit=1)[0].strip() or bare


def sentences(text: str) -> list[str]:
    """The text's sentences and lines, at least one."""
    return [part for part in _SENTENCE.split(text) if part.strip()] or [text]
