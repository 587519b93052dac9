"""What stands beside a gold answer as another answer: items of a list, alternatives, other gold
answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from selfedit.grading.lexicon import word_set
from selfedit.grading.statement import GOLD, Piece, Statement, content_words, words_of
from selfedit.grading.text import exact_match

_LONGEST_ITEM = 5  # words; twice as many after a word like "or"
_CHOICES = word_set(
    "or nor / | vs vs. versus ? instead no actually alternatively otherwise rather wait"
)
_ENDS = word_set(". ? ! line")
_BREAKS = _ENDS | word_set("; / | • * - – —")
_PRONOUNS = word_set("it this that these those they he she there")
_COPULAS = word_set("is was are were be been being it's that's could might may would will")
_FILLERS = word_set("the a an answer answers also maybe perhaps possibly either even else yes")
_OF_CLAUSES = (
    "am has had have having do does did which who whom whose where when while because since after"
    " before until if can should shall must we you i not including such so thus"
)
CLAUSE = _PRONOUNS | _COPULAS | word_set(_OF_CLAUSES)
"""Words of which a sentence has one or more, and an item of a list none."""
_OF_DETAILS = (
    "in on at by with from for of to as during near under over between among through into about"
    " around within via per than like against across along behind beyond toward towards"
)
_DETAIL = word_set(_OF_DETAILS)


@dataclass(frozen=True)
class Rivals:
    """Items that stand in a row with a gold answer.

    Attributes:
        joints: what stands between each of them and the one before it, the gold answer's being the
            first.
        choice: whether a word like ``or`` stands between the gold answer and one of them, or one
            begins just as the gold answer's piece does (``It was iron. It was silver.``).
    """

    joints: tuple[str, ...]
    choice: bool


@dataclass(frozen=True)
class _Neighbour:
    """A piece beside the gold answer's, with the joints on the side of the gold answer and on the
    far side.
    """

    piece: Piece
    near: frozenset[str]
    far: frozenset[str]


def find_rivals(
    statement: Statement, question_words: frozenset[str], known: frozenset[str]
) -> Rivals:
    """The items in a row with the gold answer.

    Args:
        statement: where the gold answer is stated.
        question_words: content words that no item has, those of the question.
        known: content words that are not enough for an item, those of the question and the gold
            answers.
    """
    gold = statement.pieces[statement.at]
    lead_in, rest = _split(gold.words)
    before, after = _neighbours(statement)
    rows = []
    if rest[-1] == GOLD:
        rows.append(list(_items(after, question_words, known, gold)))
    bare = tuple(word for word in rest if word == GOLD or content_words(word))
    if bare[0] == GOLD:
        row = list(_items(before, question_words, known, gold))
        rows.append(row if bare == (GOLD,) else row[:1])
    choice = any(row and _CHOICES & row[0].near for row in rows)
    beside = [side[0] for side in (before, after) if side]
    alike = bare == (GOLD,) and bool(_COPULAS.intersection(lead_in))
    again = alike and any(_split(each.piece.words)[0] == lead_in for each in beside)
    return Rivals(
        tuple(" ".join(sorted(each.near)) for row in rows for each in row), choice or again
    )


def _neighbours(statement: Statement) -> tuple[list[_Neighbour], list[_Neighbour]]:
    """The pieces before the gold answer's and after it, the nearest first."""
    pieces, at = statement.pieces, statement.at
    joints = [frozenset((piece.joint or "line").split()) for piece in pieces] + [
        frozenset(("line",))
    ]
    before = [_Neighbour(pieces[n], joints[n + 1], joints[n]) for n in range(at - 1, -1, -1)]
    return before, [
        _Neighbour(pieces[n], joints[n], joints[n + 1]) for n in range(at + 1, len(pieces))
    ]


def _split(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words that lead in (``it is``, ``the``), in lower case, and the others, at least one."""
    small = [word.lower() for word in words]
    count = 0
    while count < len(small) - 1:
        if small[count] in _PRONOUNS and small[count + 1] in _COPULAS:
            count += 1
        elif small[count] not in _FILLERS and not (count and small[count] in _COPULAS):
            break
        count += 1
    return tuple(small[:count]), tuple(words[count:])


def _items(
    row: Sequence[_Neighbour], question_words: frozenset[str], known: frozenset[str], gold: Piece
) -> Iterator[_Neighbour]:
    """The items of a row, up to the first piece that cannot stand in a list; what is in brackets is
    passed over.
    """
    inside = False
    for at, each in enumerate(row):
        inside = ")" not in each.near if inside else "(" in each.near
        chosen = bool(each.near & _CHOICES) and at == 0
        if inside and not each.near & _CHOICES:
            continue
        words = words_of(" ".join(_split(each.piece.words)[1]))
        content = set(content_words(" ".join(words)))
        if CLAUSE.intersection(words) or len(words) > (
            2 * _LONGEST_ITEM if chosen else _LONGEST_ITEM
        ):
            return
        if not chosen and (
            not words or content & question_words or not _can_follow(each, words, gold)
        ):
            return
        if chosen or content - known:
            yield each


def _can_follow(each: _Neighbour, words: Sequence[str], gold: Piece) -> bool:
    """Whether a piece can be an item where it stands: no detail, no description, no beginning of a
    longer sentence.
    """
    first, joined = each.piece.words[0].lower(), each.near
    described = (
        joined == {","} and first in ("a", "an") and gold.words[0].lower() not in ("a", "an")
    )
    detail = words[0] in _DETAIL and not joined & (_BREAKS | _CHOICES)
    unfinished = bool(joined & _ENDS) and not each.far & _ENDS
    return not (
        described or detail or unfinished or joined == {")"} or words[0].endswith(("ing", "ed"))
    )


def stands_alone(answer: str, statement: Statement) -> bool:
    """Whether an answer is a piece of what is said by itself, small words before it apart."""
    for piece in statement.pieces:
        words = list(piece.words)
        while words and words_of(words[0]) and not content_words(words[0]):
            words = words[1:]
        if words_of(" ".join(words)) and exact_match(" ".join(words), [answer]):
            return True
    return False
