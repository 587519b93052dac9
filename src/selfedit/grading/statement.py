"""Where an answer states a gold answer: the words before it and after it, and the pieces that it
stands among.

A gold answer is stated where it stands as whole words
(:func:`selfedit.grading.text.contains_gold`), or where its content words do, in any order and with
at most one other between them: ``built a granary`` states ``granaries were built``. English endings
are set aside for the second, so that ``students`` states ``student``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from selfedit.grading.lexicon import STOP_WORDS, word_set
from selfedit.grading.text import answer_tokens, contains_gold, normalise
from selfedit.grading.tokens import UNSPACED
from selfedit.grading.view import sentences

_PARTING = ",;:/|()[]•、，；：・（）\n"
# An item's number, a character of a script without spaces, a word (1,200 and 24/7 are one), or a
# mark that parts.
_STATEMENT_WORD = re.compile(
    rf"(?<!\w)\(?\d{{1,2}}\)(?=\s)|{UNSPACED.pattern}"
    rf"|(?:(?!{UNSPACED.pattern})(?:[^\s{re.escape(_PARTING)}]|(?<=\d)[,/:](?=\d)))+"
    rf"|[{re.escape(_PARTING)}]"
)
_CONJUNCTIONS = word_set(
    "and or nor then plus & + versus vs vs. - – — * instead no actually alternatively otherwise"
    " rather wait"
)
_NUMBER_OF_ITEM = re.compile(r"\(?\d{1,2}[.)]")
_CLAUSE_END = re.compile(r"[^\W_]{2}[.!?]+[\"”’)]*$|[?!。！？]$")
_LEAD = re.compile(r"^\s*(?:(?:Final )?Answer|A)\s*:\s*", re.IGNORECASE)
_DIALOGUE = re.compile(
    r"\n[^\S\n]*(?:Question|Q|Passage|Topic|User|Assistant|Human)\b\s*:|\nYou are "
)
_LONGEST_BETWEEN = 1  # other content words between those of a gold answer


@dataclass(frozen=True)
class Piece:
    """A stretch of words between two parting marks or conjunctions; ``joint`` is what stands before
    it.
    """

    joint: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """The first place where an answer states a gold answer.

    Attributes:
        lead: the sentences before that place's.
        before, hit, after: the words of its sentence before the gold answer, of it, and after it.
        pieces: the whole answer cut at marks and conjunctions; ``""`` stands for the gold answer.
        at: which piece has it.
    """

    lead: str
    before: tuple[str, ...]
    hit: tuple[str, ...]
    after: tuple[str, ...]
    pieces: tuple[Piece, ...]
    at: int

    @property
    def beside(self) -> str:
        """All that is said up to the end of the sentence, the gold answer apart."""
        return " ".join([self.lead, *self.before, *self.after])


GOLD = ""
"""The word that stands for the gold answer among the words of a piece."""


@lru_cache(maxsize=16384)
def content_words(text: str) -> tuple[str, ...]:
    """The content words without English endings, in order."""
    return tuple(_bare_words(token) for token in words_of(text) if token not in STOP_WORDS)


def words_of(text: str) -> list[str]:
    """The normalised words, none for a blank text."""
    return answer_tokens(text) if normalise(text) else []


def _telling(text: str) -> tuple[str, ...]:
    """The content words, or all words where there are no others."""
    return content_words(text) or tuple(map(_bare_words, words_of(text)))


@lru_cache(maxsize=65536)
def _bare_words(word: str) -> str:
    """A word without the endings of plural, past, participle and adverb: ``stages`` and ``staged``
    -> ``stag``.
    """
    if not (word.isascii() and word.isalpha() and len(word) > 3):
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("es") and word[-3] in "sxzh":
        word = word[:-2]
    elif word.endswith("s") and word[-2] not in "sui":
        word = word[:-1]
    ending = next(
        (e for e in ("ing", "ed", "ly") if word.endswith(e) and len(word) - len(e) >= 4), ""
    )
    word = word[: len(word) - len(ending)]
    word = word[:-1] if word.endswith("e") and len(word) > 4 else word
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] else word


def states(text: str, gold: str) -> bool:
    """Whether the text states the gold answer, whatever else it says."""
    if not normalise(text):
        return False
    return contains_gold(text, [gold]) or _joined_pieces(Counter(_telling(gold)), _telling(text))


def _joined_pieces(gold: Counter[str], words: Sequence[str]) -> bool:
    """Whether a stretch of the words, a little longer than the gold ones, has all of them."""
    width, missing = gold.total() + _LONGEST_BETWEEN, Counter(gold)
    lacking = gold.total()  # gold words that the stretch up to here has not
    for at, word in enumerate(words):
        if at >= width:
            left = words[at - width]
            missing[left] += left in gold
            lacking += left in gold and missing[left] > 0
        if word in gold:
            lacking -= missing[word] > 0
            missing[word] -= 1
        if lacking == 0:
            return True
    return lacking == 0


def answer_text(answer: str) -> str:
    """The answer without ``Answer:`` before it and without the dialogue that a base model may go on
    with.

    A blank line does not end it, as it does for :func:`selfedit.grading.view.answer_body`: a list
    may have some.
    """
    return _DIALOGUE.split(_LEAD.sub("", answer), maxsplit=1)[0].strip()


def find_statement(answer: str, gold: str) -> Statement | None:
    """The first sentence that states the gold answer, cut around it; None where none does."""
    body = answer_text(answer)
    if not states(body, gold):
        return None
    parts = sentences(body)
    at = next((at for at, part in enumerate(parts) if states(part, gold)), None)
    if at is None:  # it is stated across the end of a sentence
        parts, at = [body], 0
    words = _piece_words(parts[at])
    first, last = _span(
        parts[at],
        [(word.start(), word.end()) for word in _STATEMENT_WORD.finditer(parts[at])],
        gold,
    )
    hit = words[first:last]
    lead, later = (_piece_words(_answer_lines(rest)) for rest in (parts[:at], parts[at + 1 :]))
    ended = ["\n"] if _CLAUSE_END.search(hit[-1]) else []
    pieces = _pieces([*lead, "\n", *words[:first], GOLD, *ended, *words[last:], "\n", *later])
    position = next(at for at, piece in enumerate(pieces) if GOLD in piece.words)
    return Statement(
        _answer_lines(parts[:at]),
        tuple(words[:first]),
        tuple(hit),
        tuple(words[last:]),
        tuple(pieces),
        position,
    )


def _answer_lines(parts: Iterable[str]) -> str:
    return "\n".join(part.strip() for part in parts)


def _piece_words(text: str) -> list[str]:
    return _STATEMENT_WORD.findall(text)


def _span(text: str, places: Sequence[tuple[int, int]], gold: str) -> tuple[int, int]:
    """The shortest run of words, from the first end at which the gold answer is stated."""
    last = _first(1, len(places), lambda count: states(text[: places[count - 1][1]], gold))
    end = places[last - 1][1]
    start = _first(0, last - 1, lambda at: not states(text[places[at + 1][0] : end], gold))
    return start, last


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first number of a range from which on ``holds`` is true; the last one is taken to be."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _pieces(words: Sequence[str]) -> list[Piece]:
    numbered = any(_NUMBER_OF_ITEM.fullmatch(word) for word in words[:2])
    pieces: list[Piece] = []
    joint: list[str] = []
    current: list[str] = []
    for word in [*words, "\n"]:
        ends = word != GOLD and (
            word in _PARTING
            or word.lower() in _CONJUNCTIONS
            or (numbered and _NUMBER_OF_ITEM.fullmatch(word) is not None)
        )
        if not ends:
            current.append(word)
        if current and (ends or _CLAUSE_END.search(word)):
            pieces.append(Piece(" ".join(joint), tuple(current)))
            current, joint = [], [word[-1]] if not ends else []
        if ends and word != "\n":
            joint.append(word.lower())
        elif ends and not joint:
            joint.append("line")
    return pieces
