"""Whether a model knows the language of the documents that it is to learn, told before it trains.

Two measures that need no other model: into how many tokens its tokenizer cuts a byte of the text,
and how many bits a byte the model is surprised by (its loss). Both are held against English text
that has nothing to do with the documents; bytes, since a Korean or Chinese letter says more than a
Latin one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from typing_extensions import TypedDict

from selfedit.documents.measuring import GENERAL
from selfedit.lm.load import LanguageModel
from selfedit.lm.perplexity import mean_losses
from selfedit.rl.session import Session
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.language import NAMES, language_of
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context

PASSAGES = 3
"""Passages of a language that are measured, and of the English text."""
CHARACTERS = 600
"""Of each passage that is measured, from its beginning."""
WORDS = 30
"""Fewer words in letters without accents may be English, whatever they are."""
MOST_TOKENS = 0.4
"""Tokens a byte from which on a language is cut into pieces that mean nothing by themselves.
SmolLM2's tokenizer gives 0.28 for English, 0.35 to 0.39 for Spanish and German, 0.63 to 0.74 for
Chinese, Japanese and Korean; one that was made for these gives 0.2 to 0.35.
"""
MOST_SURPRISE = 1.6
"""Times the bits a byte of English text from which on a model hardly knows a language. SmolLM2-135M
has 1.4 for Spanish and French, 1.7 for German and Italian, 1.8 to 2.0 for Korean and Chinese.
"""


class LanguageRecord(TypedDict):
    """What a model makes of the passages of one language.

    Keys:
        language: its name, or "unknown".
        passages: how many there are.
        tokens_per_character, bits_per_byte: of those that were measured.
        hardly_known: whether the model hardly knows it.
    """

    language: str
    passages: int
    tokens_per_character: float
    bits_per_byte: float
    hardly_known: bool


class _Measure:
    """Texts as one: their characters, bytes, tokens, and bits of loss."""

    def __init__(self, lm: LanguageModel, texts: Sequence[str]) -> None:
        self.characters = sum(map(len, texts))
        self.bytes = sum(len(text.encode()) for text in texts)
        counts = [len(lm.encode(text)) for text in texts]
        self.tokens = sum(counts)
        losses = mean_losses(lm, texts)
        self.bits = sum(
            loss * count / math.log(2) for loss, count in zip(losses, counts, strict=True)
        )

    @property
    def bits_per_byte(self) -> float:
        return self.bits / self.bytes


def measured_languages(lm: LanguageModel, contexts: Sequence[Context]) -> list[LanguageRecord]:
    """Each language of the passages, the one of most passages first; English is not measured."""
    by_language: dict[str, list[Context]] = {}
    for context in contexts:
        if (language := _named(context.text)) is not None:
            by_language.setdefault(language, []).append(context)
    if not by_language:
        return []
    english = _Measure(lm, _beginnings(load_contexts([GENERAL]))).bits_per_byte
    ordered = sorted(by_language.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    return [_language_record(lm, language, mine, english) for language, mine in ordered]


def _named(text: str) -> str | None:
    """A text's language, or "unknown"; None for English, and for what is too short to tell."""
    language = language_of(text)
    if language is None:
        letters = list(filter(str.isalpha, text))
        plain = sum(map(str.isascii, letters)) > 0.9 * len(letters)
        return None if plain and len(text.split()) < WORDS else "unknown"
    return None if language == "en" else NAMES[language]


def _language_record(
    lm: LanguageModel, language: str, contexts: Sequence[Context], english: float
) -> LanguageRecord:
    measure = _Measure(lm, _beginnings(contexts))
    in_pieces = measure.tokens > MOST_TOKENS * measure.bytes
    return {
        "language": language,
        "passages": len(contexts),
        "tokens_per_character": measure.tokens / measure.characters,
        "bits_per_byte": measure.bits_per_byte,
        "hardly_known": in_pieces or measure.bits_per_byte > MOST_SURPRISE * english,
    }


def _beginnings(contexts: Sequence[Context]) -> list[str]:
    return [context.text[:CHARACTERS] for context in contexts[:PASSAGES]]


def tell_languages(
    session: Session[KnowledgeTask], contexts: Sequence[Context]
) -> list[LanguageRecord]:
    """Measure, and say a word about each language that the model hardly knows."""
    records = measured_languages(session.lm, contexts)
    for record in records:
        if record["hardly_known"]:
            session.progress.tell(about_language(record, session.settings.model))
    return records


def about_language(record: LanguageRecord, model: str) -> str:
    """What a user should know before a model learns passages of a language that it hardly knows."""
    count = record["passages"]
    passages = f"{count} passage{'' if count == 1 else 's'}"
    subject = (
        f"the language (or the form) of {passages}"
        if record["language"] == "unknown"
        else f"{record['language']} ({passages})"
    )
    return (
        f"{model} hardly knows {subject}: {record['tokens_per_character']:.2f} tokens a character,"
        f" {record['bits_per_byte']:.1f} bits a byte. What it writes about them will often be"
        " wrong; a model that was trained on this language learns them better (`selfedit models`),"
        " and --samples 0 trains on the passages alone"
    )
