"""In which language a passage is, so that its self-edit is asked for in that language.

Letters tell Korean, Japanese and Chinese; the commonest words tell languages in Latin letters. Only
seven languages have a translation to choose, a wrong guess costs more than none (English is asked
in then), and the answer must be the same on every machine: a library that tells a hundred languages
apart would bring a model of its own for that. Words of Italian, Portuguese and Dutch are counted
too, so that these are not taken for the neighbours that have a translation.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from selfedit.config import LANGUAGES, EditSettings, Language

Detected = Literal["en", "ko", "zh", "de", "es", "fr", "ja", "it", "pt", "nl"]
NAMES: dict[str, str] = {
    "en": "English",
    "ko": "Korean",
    "zh": "Chinese",
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "ja": "Japanese",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
}
LOOKED_AT = 20_000
"""Characters of a passage that are looked at."""
LEAST_SHARE = 0.1
"""Share of the words that are among a language's commonest, at the least."""
LEAST_DISTINCT = 4
"""Different ones among them, at the least: a list of Los Angeles' teams is not Spanish."""
LEAD = 1.3
"""Times as many as of any other language."""
_STOP_WORDS: dict[Detected, str] = {
    "en": "the of and to in is was for that on with as by at from it its are were be which this"
    " an or not had has have his her their they he she but after who been than when into",
    "de": "der die das und in den von zu mit sich des auf für ist im dem nicht ein eine als"
    " auch es an werden aus er hat dass sie nach wird bei einer um am sind noch wie einem über"
    " einen so zum war haben nur oder aber vor zur bis mehr durch man wurde weil",
    "es": "el la de que y en los del se las por un para con no una su al lo como más pero sus"
    " le ya o este fue ha sí porque esta son entre cuando muy sin sobre también me hasta hay"
    " donde desde todo nos durante estaba era después",
    "fr": "le la de et les des en un une du que est pour qui dans a par plus pas au sur ne se"
    " il ce sont avec son sa ses aux ou mais été comme nous elle cette ont était leur il y"
    " après même deux ces être fut car lors",
    "it": "il la di che e in un per una non del della sono con le si da è dei nel alla anche al"
    " gli come più ma lo delle dal ha suo sua questo i fu era dopo essere perché",
    "pt": "o a de que e do da em um para com não uma os no se na por mais as dos como mas foi"
    " ao ele das tem à seu sua ou ser quando muito há nos já está eu também só pelo pela era",
    "nl": "de het een van en in is dat op te zijn met voor niet aan er om ook als dan maar bij"
    " uit nog naar door over ze worden werd hij wordt heeft na was omdat",
}
_FREQUENT: dict[Detected, frozenset[str]] = {
    language: frozenset(words.split()) for language, words in _STOP_WORDS.items()
}
_LETTERS = re.compile(r"[^\W\d_]+")
_HANGUL_LETTERS = re.compile(r"[\u1100-\u11ff\uac00-\ud7a3]")
_KANA = re.compile(r"[\u3041-\u30ff]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")


def edit_language(settings: EditSettings, text: str) -> Language:
    """The language that a self-edit of a passage is asked for in; English where none is sure."""
    if settings.language != "auto":
        return settings.language
    language = language_of(text)
    for known in LANGUAGES:
        if known == language:
            return known
    return "en"


@lru_cache(maxsize=1024)
def language_of(text: str) -> Detected | None:
    """The language of a text; None where it is none of those known here, or too little of one."""
    text = text[:LOOKED_AT]
    hangul, kana, han = (len(script.findall(text)) for script in (_HANGUL_LETTERS, _KANA, _HAN))
    letters = sum(map(str.isalpha, text))
    east = hangul + kana + han
    # A character of these says as much as two or three Latin letters.
    if 3 * east > letters:
        if 2 * hangul > east:
            return "ko"
        return "ja" if 10 * kana > east else "zh"
    return _by_words(_LETTERS.findall(text.lower()))


def _by_words(words: list[str]) -> Detected | None:
    shares: dict[Detected, float] = {
        language: sum(word in common for word in words) / max(1, len(words))
        for language, common in _FREQUENT.items()
    }
    first, second = sorted(shares, key=shares.__getitem__, reverse=True)[:2]
    sure = shares[first] >= LEAST_SHARE and shares[first] >= LEAD * shares[second]
    sure = sure and len(_FREQUENT[first].intersection(words)) >= LEAST_DISTINCT
    return first if sure else None
