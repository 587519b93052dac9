"""Words, characters and number words: how a normalised text is cut into the units that are
compared.

Spaced scripts are cut at white space. Chinese, Japanese, Thai, Lao, Khmer and Burmese have no
spaces between words, so there every character (with its combining marks) is a token. Where the
script changes to or from one of those, or to
Hangul, a new token begins: ``1950년에`` is ``1950`` + ``년에``, so that a gold ``1950`` is found in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from selfedit.storage.neutral import in_form

UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_HANGUL = re.compile("[\u1100-\u11ff\uac00-\ud7a3]")
# Marks that may be left out in writing: Latin, Greek and Cyrillic accents, Hebrew points, Arabic
# vowel signs and hamza. Not the marks of Indic scripts, Thai or kana, which are other letters'
# sounds.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u0655\u0670]"
)
_UNDECOMPOSED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe"}
)

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
)
_ROUND = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNIT_NAMES = {word: value for value, word in enumerate(_SMALL.split())}
_TENS = {word: 10 * value for value, word in enumerate(_ROUND.split(), start=2)}


def fold_accents(text: str) -> str:
    """The text without the accents a writer may leave out: ``café`` -> ``cafe``, ``أحمد`` ->
    ``احمد``.

    Vowel signs of Indic scripts and the voicing marks of kana stay: without them it would be
    another word.
    """
    bare = _ACCENTS.sub("", in_form("NFD", text))
    return in_form("NFC", bare).translate(_UNDECOMPOSED)


def script_tokens(text: str) -> list[str]:
    """Cut a normalised text into words (spaced scripts) and characters (scripts without spaces).

    ``%`` is always a token of its own, so that ``50`` is found in ``50%`` but ``50%`` not in
    ``50``.
    """
    return [token for word in text.split() for token in _cut(word)]


@lru_cache(maxsize=65536)
def _cut(word: str) -> tuple[str, ...]:
    if word.isascii() and "%" not in word:
        return (word,)
    starts: list[int] = []
    last = ""
    for index, char in enumerate(word):
        kind = _kind(char)
        if not starts or not (kind == "mark" or (kind == last and kind in ("hangul", "spaced"))):
            starts.append(index)
            last = kind
    return tuple(word[start:end] for start, end in pairwise([*starts, len(word)]))


def _kind(char: str) -> str:
    if unicodedata.category(char).startswith("M"):
        return "mark"
    if char == "%":
        return "percent"
    if UNSPACED.match(char):
        return "character"
    return "hangul" if _HANGUL.match(char) else "spaced"


def is_hangul(token: str) -> bool:
    """Whether the token is a Korean word (tokens never mix Hangul with another script)."""
    return bool(_HANGUL.match(token))


def number_words(words: Sequence[str]) -> list[str]:
    """English number words up to hundreds as digits: ``two hundred and fifty`` -> ``250``, ``a
    dozen`` stays.

    ``one`` becomes ``1`` wherever it stands, also as a pronoun; both sides of a comparison get the
    same treatment.
    """
    out: list[str] = []
    at = 0
    while at < len(words):
        value, used = _number_at(words, at)
        out.append(str(value) if used else words[at])
        at += used or 1
    return out


def _number_at(words: Sequence[str], at: int) -> tuple[int, int]:
    """The number that starts at ``at`` and how many words it takes (0: none starts there)."""
    value, used = _below_hundred(words, at)
    if not used and words[at].isascii() and words[at].isdigit() and len(words[at]) <= 2:
        value, used = int(words[at]), 1
        if words[at + 1 : at + 2] != ["hundred"]:
            return 0, 0  # digits without "hundred" are left as they are written ("07")
    if words[at + used : at + used + 1] != ["hundred"]:
        return value, used
    value, used = (value if used else 1) * 100, used + 1
    skip = words[at + used : at + used + 1] == ["and"]
    rest, more = _below_hundred(words, at + used + skip)
    return (value + rest, used + skip + more) if more else (value, used)


def _below_hundred(words: Sequence[str], at: int) -> tuple[int, int]:
    first, second = (*words[at : at + 2], "", "")[:2]
    if first in _UNIT_NAMES:
        return _UNIT_NAMES[first], 1
    if first not in _TENS:
        return 0, 0
    unit = _UNIT_NAMES.get(second, 0)
    return (_TENS[first] + unit, 2) if 1 <= unit <= 9 else (_TENS[first], 1)
