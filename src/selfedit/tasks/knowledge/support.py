"""Which lines of a self-edit its passage supports: a small model invents, and what it invents would
be trained into it.

A line is taken sentence by sentence. A sentence is kept if

- every number and every name in it stands in the passage or its title, and
- of its content words (`selfedit.grading.statement.content_words`) `COVERED` stand together in two
  neighbouring sentences of the passage, its title beside them: words gathered from all over the
  passage make sentences such as "She was born in 1940" of a birth and a medal.

It reads words, not meaning: a sentence made of the right words that says something else passes, and
a true one in wholly other words falls. How many of each: ``docs/adapt.md``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from selfedit.grading.statement import content_words, words_of
from selfedit.tasks.knowledge.edits import ParsedEdit
from selfedit.tasks.knowledge.units import cut_sentences
from selfedit.tasks.task import Context

COVERED = 0.9
"""Share of a sentence's content words that two neighbouring sentences of the passage must have."""

_SENTENCE_WORD = re.compile(r"(?P<start>^|[.!?:;\"“(\[] ?)?(?P<word>[^\W\d_][\w’'-]*)")
_ENDED = re.compile(r"[.!?…。！？।]['\"”’»)\]]*$")


@dataclass(frozen=True)
class DroppedLine:
    """A sentence of a self-edit that is not trained on, and why."""

    text: str
    why: str


class PassageWords:
    """What a passage says, as words.

    Args:
        context: the passage.
    """

    def __init__(self, context: Context) -> None:
        self._title = {*content_words(context.title)}
        self._title_text = _plain_words(context.title)
        self._words = {*words_of(f"{context.title}\n{context.text}")}
        sentences = [{*content_words(each)} for each in cut_sentences(context.text) if each.strip()]
        # One sentence alone is a pair with an empty one.
        self._pairs = [
            a | b | self._title for a, b in zip(sentences, [*sentences[1:], set()], strict=True)
        ]
        self._content = self._title.union(*sentences)

    def objection(self, sentence: str) -> str | None:
        """Why a sentence is not to be trained on; None if the passage supports it."""
        content = content_words(sentence)
        if not content or _plain_words(sentence) in self._title_text:
            return "it states nothing"
        words = words_of(sentence)
        # Four words in a row said twice: a small model that has lost its thread.
        runs = list(zip(words, words[1:], words[2:], words[3:], strict=False))
        if len({*runs}) < len(runs):
            return "it repeats itself"
        if strange := self._strange(sentence):
            return f"not in the passage: {', '.join(strange)}"
        # The share of its words, not of their information: a small list is read well by people.
        shares = [sum(word in pair for word in content) / len(content) for pair in self._pairs]
        if max(shares, default=0.0) < COVERED:
            return "the passage does not say it"
        return None

    def _strange(self, sentence: str) -> list[str]:
        """Numbers and names that stand nowhere in the passage."""
        # A number counts wherever it stands: "six weeks" and "6 weeks" are one by now.
        numbers = [word for word in words_of(sentence) if any(map(str.isdigit, word))]
        strange = [number for number in numbers if number not in self._words]
        for match in _SENTENCE_WORD.finditer(sentence):
            word = match["word"]
            # The first word of a sentence has its capital from there.
            named = word[0].isupper() and match["start"] is None
            if named and not {*content_words(word)} <= self._content:
                strange.append(word)
        return list(dict.fromkeys(strange))


def supported_edit(
    context: Context, edit: ParsedEdit, *, cut_off: bool = False
) -> tuple[ParsedEdit, list[DroppedLine]]:
    """A self-edit without what the passage does not support, its lines cut into sentences, and what
    was dropped.

    Args:
        context: the passage.
        edit: what the model wrote.
        cut_off: it was stopped at its limit, so that its last sentence may be half of one.
    """
    passage, dropped = PassageWords(context), list[DroppedLine]()
    sentences = list(_sentences(edit.lines))
    if cut_off and sentences and not edit.pairs and not _ENDED.search(sentences[-1]):
        dropped.append(DroppedLine(sentences.pop(), "it was cut off"))
    lines: list[str] = []
    # Each once: a small model says the same thing many times.
    for sentence in dict.fromkeys(sentences):
        why = passage.objection(sentence)
        if why is None:
            lines.append(sentence)
        else:
            dropped.append(DroppedLine(sentence, why))
    pairs: list[tuple[str, str]] = []
    for question, answer in edit.pairs:
        # A question's own words ask, they do not state: "what", "how many".
        why = passage.objection(f"{question} {answer}")
        if why is None:
            pairs.append((question, answer))
        else:
            dropped.append(DroppedLine(f"{question} {answer}", why))
    return replace(edit, lines=tuple(lines), pairs=tuple(pairs)), dropped


def passage_sentences(context: Context) -> tuple[str, ...]:
    """The passage's own sentences, each once: lines that are true by themselves."""
    return tuple(dict.fromkeys(_sentences([context.text])))


def _sentences(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        yield from (each.strip() for each in cut_sentences(line) if any(map(str.isalnum, each)))


def _plain_words(text: str) -> str:
    return " ".join(words_of(text))
