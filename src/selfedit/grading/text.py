"""Normalisation and matching of short answers in any language: exact match, token F1, containment.

The measures are SQuAD's (Rajpurkar et al. 2016, arXiv 1606.05250) with its normalisation (lower
case, no punctuation, no articles) carried over to Unicode and to numbers. They need no model and no
key, and are exact: nothing is guessed.

Containment asks whether the answer *says* the gold answer, not whether it says only that. An answer
that lists every candidate contains the gold one too. Nothing here bounds an answer's length: the
limit on generated tokens does.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from selfedit.errors import DataError
from selfedit.grading.tokens import fold_accents, is_hangul, number_words, script_tokens
from selfedit.storage.neutral import in_form

_ARTICLES = frozenset({"a", "an", "the"})
# A fraction or exponent directly after a digit is another number: NFKC alone would turn 2½ into
# 21/2 and 10² into 102.
_AFTER_DIGIT = re.compile("(?<=\\d)(?=[¼-¾⅐-⅞²³¹⁰⁴-⁹⁺⁻])")
_SAME = str.maketrans("’‘ʼʻ`\u2212\u2044٫٬٪", "'''''-/.,%")
_POSSESSIVE = re.compile(r"(?<=[^\W\d_])'s(?!\w)")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{2,3})*,\d{3}(?!,?\d)")
_ACRONYM = re.compile(r"(?<![\w.])(?:[^\W\d_]\.)+[^\W\d_](?!\w)\.?")
_POINT_FIRST = re.compile(r"(?<![\w.])\.(?=\d)")
_PERCENT = re.compile(r"(?<!\S)per ?cent(?!\S)")
# Signs that carry meaning: 3.5, 1/2, -5, 50%, C++, C#.
_MEANT = re.compile(r"(?<=\d)[./](?=\d)|(?<![^\s(\[])-(?=\d)|%|(?<=[^\W\d_])[+#]+(?!\w)")
_PARTICLES = (
    "은 는 이 가 을 를 에 의 로 와 과 도 만 나 야 요 께 에서 에게 으로 까지 부터 보다 처럼 하고"
    " 이나 라고 라는 이며 "
    "이고 에는 에도 에서는 에서도 으로는 이라고 이라는 이다 다 입니다 였다 이었다 였습니다 이었습니다"
)
_ARTICLE = "ال"
"""Arabic's, which a letter may stand before."""
_ONE_SYLLABLE_ENDINGS = frozenset(_PARTICLES.split())


def normalise(text: str) -> str:
    """The form in which two texts are the same answer; applying it twice changes nothing more.

    NFKC and case folding; punctuation and symbols become spaces, by Unicode category, but what
    carries meaning in a number stays (``3.5``, ``1/2``, ``-5``, ``50%``; ``1,200`` is ``1200``,
    ``٣`` is ``3``); apostrophes, possessive ``'s`` and the full stops of acronyms go; English
    articles go unless last (``hepatitis A``); English number words up to hundreds become digits and
    ``percent`` becomes ``%``. Accents stay. Currency signs go, as in SQuAD. A text of symbols only
    is returned folded, so that it is never empty unless it was blank.
    """
    return _normalise(text, True)


@lru_cache(maxsize=16384)
def _normalise(text: str, drop_articles: bool) -> str:
    folded = _fold(_AFTER_DIGIT.sub(" ", text))
    words = _signs(folded).replace("%", " % ").split()
    if drop_articles:
        words = [word for word in words[:-1] if word not in _ARTICLES] + words[-1:]
    words = _PERCENT.sub("%", " ".join(words)).split()
    joined = " ".join(number_words(words))
    return re.sub("(?<=[0-9]) %", "%", joined) or " ".join(folded.split())


def _fold(text: str) -> str:
    """NFKC case folding (the Unicode Standard, section 3.13, D146) and one character for each sign
    with several.
    """
    for _ in range(2):
        text = in_form("NFKC", text).casefold()
    return in_form("NFKC", text).translate(_SAME)


def _signs(text: str) -> str:
    """Punctuation out; digits of every script as ASCII; the signs of ``_MEANT`` kept."""
    text = _POSSESSIVE.sub("", text).replace("'", "")
    text = "".join(
        _digit(char) for char in text if unicodedata.category(char) != "Cf" and char != "ـ"
    )
    text = _ACRONYM.sub(lambda match: match[0].replace(".", ""), text)
    # what was taken out may have stood between a letter and its mark
    text = in_form("NFKC", text)
    text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), _POINT_FIRST.sub("0.", text))
    parts, at = list[str](), 0
    for sign in _MEANT.finditer(text):
        parts += _letters(text[at : sign.start()]), sign[0]
        at = sign.end()
    return "".join([*parts, _letters(text[at:])])


def _digit(char: str) -> str:
    value = unicodedata.decimal(char, None)
    return char if value is None else str(value)


def _letters(text: str) -> str:
    return "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in text)


def answer_tokens(text: str, *, drop_articles: bool = True) -> list[str]:
    """The normalised, accent-folded tokens that matching compares."""
    plain = _normalise(text, drop_articles)
    return script_tokens(fold_accents(plain).strip() or plain)


def exact_match(answer: str, golds: Sequence[str]) -> bool:
    """Whether the answer is one of the golds after normalisation, accents set aside.

    Raises:
        DataError: there is no gold answer, or all are blank.
    """
    answered = answer_tokens(answer)
    return any(answered == answer_tokens(gold) for gold in usable_golds(golds))


def token_f1(answer: str, golds: Sequence[str]) -> float:
    """SQuAD's token F1 in [0, 1], the best over the golds.

    Korean is compared by syllable, as KorQuAD 1.0 does (arXiv 1909.07005), because particles attach
    to nouns.

    Raises:
        DataError: there is no gold answer, or all are blank.
    """
    answered = _f1_tokens(answer)
    return max(_f1(answered, _f1_tokens(gold)) for gold in usable_golds(golds))


def _f1_tokens(text: str) -> list[str]:
    return [
        part for token in answer_tokens(text) for part in (token if is_hangul(token) else (token,))
    ]


def _f1(answered: list[str], gold: list[str]) -> float:
    shared = (Counter(answered) & Counter(gold)).total()
    return 2 * shared / (len(answered) + len(gold)) if shared else 0.0  # = 2PR / (P + R)


def contains_gold(answer: str, golds: Sequence[str]) -> bool:
    """Whether one of the golds stands in the answer as whole words.

    ``art`` is not in ``party``, ``5`` not in ``1950``, ``50`` not in ``50.5``. In scripts without
    spaces, as consecutive characters. A Korean gold word may be followed by particles: it has to
    begin an answer word, and if it is a single syllable only a particle may follow (``물이`` but not
    ``물리학``). An Arabic gold with its article may follow a one-letter proclitic (``بالقاهرة``).

    Raises:
        DataError: there is no gold answer, or all are blank.
    """
    golds = usable_golds(golds)
    # Articles are tried both ways: "the Shah" is in "Shah Ali", and "vitamin A" in "vitamin A is",
    # not in "vitamin B".
    for drop in (True, False):
        answered = answer_tokens(answer, drop_articles=drop)
        if any(_runs_in(answer_tokens(gold, drop_articles=drop), answered) for gold in golds):
            return True
    return False


def _runs_in(gold: list[str], answered: list[str]) -> bool:
    """Whether the gold words stand in a row, in time that grows with both texts' lengths."""
    if len(gold) > len(answered):
        return False
    if any(is_hangul(word) or word.startswith(_ARTICLE) for word in gold):
        return _begins_somewhere(gold, answered)
    # Knuth, Morris and Pratt 1977: how much of gold's beginning ends at each of its words
    borders, matched = [0], 0
    for word in gold[1:]:
        matched = _longer(gold, borders, matched, word)
        borders.append(matched)
    matched = 0
    for word in answered:
        matched = _longer(gold, borders, matched, word)
        if matched == len(gold):
            return True
    return False


def _longer(gold: list[str], borders: list[int], matched: int, word: str) -> int:
    """How much of gold's beginning ends with this word, where `matched` ended before it."""
    while matched and gold[matched] != word:
        matched = borders[matched - 1]
    return matched + (gold[matched] == word)


def _begins_somewhere(gold: list[str], answered: list[str]) -> bool:
    """The same where a gold word may be a part of another: a bit for each place it may begin at."""
    masks: dict[str, int] = {}
    starts = (1 << (len(answered) - len(gold) + 1)) - 1
    for number, word in enumerate(gold):
        if word not in masks:
            bits = "".join("1" if _same_word(word, each) else "0" for each in reversed(answered))
            masks[word] = int(bits, 2)
        starts &= masks[word] >> number
        if not starts:
            return False
    return True


def _same_word(gold: str, word: str) -> bool:
    if gold == word:
        return True
    if is_hangul(gold):
        return word.startswith(gold) and (
            len(gold) > 1 or word[len(gold) :] in _ONE_SYLLABLE_ENDINGS
        )
    return (
        gold.startswith(_ARTICLE)
        and len(word) == len(gold) + 1
        and word[0] in "وفبك"
        and word[1:] == gold
    )


def usable_golds(golds: Sequence[str]) -> list[str]:
    """The golds that are not blank.

    Raises:
        DataError: none is left.
    """
    usable = [gold for gold in golds if normalise(gold)]
    if not usable:
        raise DataError(
            "a question has no gold answer to compare with",
            where=list(golds),
            fix="give at least one answer",
        )
    return usable
