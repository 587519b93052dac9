"""Closed lists of English words and a stemmer: what the features of the calibrated grader know of
the language.

Written by hand from general knowledge, not taken from labelled data. Texts in other languages pass
through unharmed: their words are in no list and the stemmer only shortens words of ASCII letters.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files


def word_set(text: str) -> frozenset[str]:
    """The words of a text, each once."""
    return frozenset(text.split())


_STOP = """
a an the and or but nor so yet if then than that this these those it its they them their he him
his she her we us our you your i me my mine who whom whose which what when where why how is are
was were be been being am do does did done doing have has had having will would shall should can
could may might must of in on at to from by for with without about into onto over under between
among through during before after above below up down out off as per via not no also very just
only such both each every any some all most more many much other another own same there here
because while until against within upon toward towards across along around behind beyond near
since throughout it's e.g i.e etc called known named considered
"""
STOP_WORDS = word_set(_STOP)
"""Words that carry little of an answer."""

_NEGATIONS = (
    "not no never none neither nor without cannot cant dont doesnt didnt isnt arent wasnt werent"
    " wont wouldnt"
)
NEGATIONS = frozenset(
    (
        _NEGATIONS + " couldnt shouldnt hasnt havent hadnt nothing nobody nowhere unable lack lacks"
    ).split()
)
"""Words that turn a statement round, apostrophes dropped."""

_MONTHS = "january february march april may june july august september october november december"
MONTHS = tuple(_MONTHS.split())
"""The months, in order."""

_SUFFIXES = (
    "ization isation ational fulness ousness iveness ically ations ation ities ments ings edly ing"
    " ies ied ity ment ness ions ion ally ers ors est ive ous ful ism ist ial al ic ly ed er or es"
    " en s y e"
)
_ENDINGS = tuple(_SUFFIXES.split())


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The word without its English endings: ``construction`` and ``constructing`` -> ``construct``.

    A plain suffix stripper: it is asked whether two words are of one family, and errs on the side
    of yes.
    """
    if not (word.isascii() and word.isalpha()):
        return word
    for _ in range(2):
        for ending in _ENDINGS:
            if word.endswith(ending) and len(word) - len(ending) >= 4 - (
                ending in ("s", "e", "ed", "ing")
            ):
                word = word[: -len(ending)]
                break
    return word


def _word_sections() -> dict[str, list[str]]:
    """The lines of ``words.txt`` by section."""
    sections: dict[str, list[str]] = {}
    name = ""
    for line in (files("selfedit.grading") / "words.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            name = line.strip("[]")
        elif line and not line.startswith("#"):
            sections.setdefault(name, []).append(line)
    return sections


_SECTIONS = _word_sections()
_PAIRS = [
    tuple(map(stem, pair.split())) for line in _SECTIONS["opposites"] for pair in line.split("|")
]
OPPOSITES = frozenset((a, b) for a, b in _PAIRS) | frozenset((b, a) for a, b in _PAIRS)
"""Pairs of stems that exclude each other, both ways round."""

_GROUPS: dict[str, set[int]] = {}
for _at, _line in enumerate(_SECTIONS["alike"] + _SECTIONS["places"]):
    for _word in _line.split():
        _GROUPS.setdefault(stem(_word), set()).add(_at)


@lru_cache(maxsize=65536)
def alike(a: str, b: str) -> bool:
    """Whether two stems are the same or in one group of near synonyms (``flee``, ``escape``)."""
    return a == b or not _GROUPS.get(a, _NONE).isdisjoint(_GROUPS.get(b, _NONE))


_NONE: frozenset[int] = frozenset()
