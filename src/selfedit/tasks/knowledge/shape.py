"""What a self-edit's text looks like, in numbers: how long, how many lines, one fact a line or not,
how varied.

*One fact* is told by rule, without a model: a line states one fact if it is one sentence of 3 to 25
words with no
semicolon and no sign of a second clause: a comma or dash followed by a conjunction or a relative
word, or a subordinating conjunction inside the line. The rule is coarse (an enumeration passes,
"although" does not), and the same for every policy, so that shares by round can be compared. A
question with its answer is one fact.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from selfedit.tasks.knowledge.edits import ParsedEdit

WINDOW = 50
"""Words of a window of `lexical_diversity`."""

_SHAPE_WORD = re.compile(r"\w+(?:['’]\w+)*")
_NEXT_SENTENCE = re.compile(r"[.!?。]+[\"'”’)]*\s+(?=[A-Z\"'“‘(])")
_SECOND_CLAUSE = re.compile(
    r";|[,–—]\s*(?:and|but|or|so|yet|while|whereas|which|who|whom|whose|where|when|leading"
    r"|resulting|making|causing)\b"
    r"|\b(?:although|though|because|since|whereas|while|despite|therefore|however|thus|even if|so"
    r" that)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class EditShape:
    """A self-edit in numbers.

    Attributes:
        lines: statements and question–answer pairs it would be trained on.
        single_fact: the share of them that state one fact (see the module); None without any.
        diversity: `lexical_diversity` of its text; None without a word.
        compression: `compression_ratio` of its text.
    """

    lines: int
    single_fact: float | None
    diversity: float | None
    compression: float | None


def shape(text: str, edit: ParsedEdit) -> EditShape:
    """The numbers of a self-edit, from its text and how it was read."""
    lines = len(edit.lines) + len(edit.pairs)
    # A question with its answer is one fact by definition.
    single = sum(states_one_fact(line) for line in edit.lines) + len(edit.pairs)
    return EditShape(
        lines, single / lines if lines else None, lexical_diversity(text), compression_ratio(text)
    )


def states_one_fact(line: str) -> bool:
    """Whether a line states one fact, by the module's rule."""
    return (
        3 <= len(_SHAPE_WORD.findall(line)) <= 25
        and not _NEXT_SENTENCE.search(line.strip())
        and not _SECOND_CLAUSE.search(line)
    )


def lexical_diversity(text: str) -> float | None:
    """Moving-average type–token ratio: the mean share of different words in every window of
    `WINDOW` words.

    It does not fall with a text's length, as the plain ratio does (Covington and McFall 2010). A
    text shorter than a window is one window. None without a word.
    """
    words = [word.casefold() for word in _SHAPE_WORD.findall(text)]
    if not words:
        return None
    size = min(WINDOW, len(words))
    windows = [words[start : start + size] for start in range(len(words) - size + 1)]
    return sum(len(set(window)) / size for window in windows) / len(windows)


def compression_ratio(text: str) -> float | None:
    """Bytes of the text over those packed by zlib: repetition makes it high. None if empty."""
    # Lone surrogates, which models can write, have no UTF-8.
    data = text.encode("utf-8", "replace")
    return len(data) / len(zlib.compress(data, 9)) if data else None
