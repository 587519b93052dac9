"""How long a text is, in words, and where it may be cut: between sentences, words, and never inside
a letter.

**How size is counted.** In words, one for each run of letters between white space. Scripts written
without spaces are
counted by the letter with its marks: each Chinese, Japanese, Thai, Lao, Khmer, Burmese or Tibetan
one is a word, three Hangul syllables are one (about the length of a Korean word). Any other run
counts one for each 24 characters begun, so that a line of encoded data does not pass for one word.
"""

from __future__ import annotations

import re
import unicodedata

_HAN_KANA = (
    r"\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    r"\U00020000-\U0003ffff"
)
_SYLLABLES = r"\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
_UNSPACED = (
    r"\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf"
    r"\u1b00-\u1b7f\ua000-\ua4cf\ua980-\ua9ff\uaa00-\uaadf"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, and the scripts of their neighbours; Balinese, Javanese, Yi.
"""


def _marks() -> str:
    """Everything that belongs to the letter before it, as ranges of a character class: marks,
    joiners, variants.
    """
    codes = [code for code in range(0x300, 0x1F000) if unicodedata.category(chr(code))[0] == "M"]
    # What joins, colours and tags; Thai's and Lao's AM, a letter that is written with the last one.
    codes += [0xE33, 0xEB3, 0x200C, 0x200D, *range(0x1F3FB, 0x1F400), *range(0xE0020, 0xE01F0)]
    codes.sort()
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


_MARKS = _marks()
_STACKED = (
    r"(?:\u1039[\u1000-\u109f]|\u17d2[\u1780-\u17ff]|\u1a60[\u1a20-\u1a54]"
    r"|\u1b44[\u1b05-\u1b33]|\ua9c0[\ua984-\ua9b2])"
)
"""Burmese, Khmer, Tai Tham, Balinese and Javanese letters written below the one before."""
_CONJUNCT = r"(?<=[\u094d\u09cd\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca\u200d])\S"
"""What a killed vowel of India's scripts, or a joiner, makes one letter with the one before."""
_UNIT = re.compile(
    # A letter with its marks and up to three signs after it: a piece is never cut inside.
    rf"(?:[{_HAN_KANA}][{_MARKS}]*|(?:[{_SYLLABLES}][\u1160-\u11ff{_MARKS}]*){{1,3}}"
    rf"|[{_UNSPACED}](?:{_STACKED}|[{_MARKS}])*)"
    rf"[^\w\s{_MARKS}]{{0,3}}"
    rf"|[^\s{_HAN_KANA}{_SYLLABLES}{_UNSPACED}]{{1,24}}(?:[{_MARKS}]|{_CONJUNCT})*"
)
_STOPS = ".!?…؟۔։።‼⁇⁈⁉"
# It begins where a run of stops begins: from each place within a long run it would be read again.
_SENTENCE_END = re.compile(
    rf"""(?<![{_STOPS}])[{_STOPS}]+["'”’»)\]]*\s+|[。！？｡।॥။។៕༎]+["'”’」』）]*\s*|\n+"""
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:\w|Mr|Mrs|Ms|Dr|Prof|St|No|vs|cf|approx|e\.g|i\.e|Fig|Inc|Ltd|Jr|Sr)$"
)
_WRAPPED_CJK = re.compile(rf"(?<=[{_HAN_KANA}。！？、，])\v(?=[{_HAN_KANA}])")
# Words; a longer "heading" is a paragraph that happens to stand above a line of dashes.
_MAX_HEADING = 30

WORD = re.compile(r"\w")
"""Something to read; a passage without one is none."""


def word_count(text: str) -> int:
    """The size of ``text`` in words, by the rule at the top of this module."""
    return sum(1 for _ in _UNIT.finditer(text))


def units(word: str) -> list[str]:
    """A long word in pieces of one unit of `word_count`, white space with the piece beside it."""
    return re.findall(rf"\s*(?:{_UNIT.pattern})\s*", word)


def cut_sentences(text: str) -> list[str]:
    """``text`` cut behind each sentence and line; joined, the pieces are ``text`` again."""
    pieces, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        after = text[match.end() : match.end() + 1]
        # An abbreviation's full stop ends no sentence; twelve characters are enough to know one.
        abbreviated = match[0].startswith(".") and _ABBREVIATION.search(
            text[max(0, match.start() - 12) : match.start()]
        )
        # A small letter goes on with the sentence, unless a line ended there.
        if not (after.islower() or abbreviated) or "\n" in match[0]:
            pieces.append(text[start : match.end()])
            start = match.end()
    return [*pieces, text[start:]] if start < len(text) else pieces


def is_heading(line: str) -> bool:
    """Whether a line with a line of ``===`` below it is short enough to be a heading."""
    return bool(WORD.search(line)) and word_count(line) <= _MAX_HEADING


def soften(text: str) -> str:
    """Soft line breaks (``\\v`` here) to a space, or to nothing between Chinese or Japanese
    characters.
    """
    return _WRAPPED_CJK.sub("", text).replace("\v", " ")
