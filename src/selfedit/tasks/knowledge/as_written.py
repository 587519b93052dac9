"""A self-edit read as the published code reads it: line by line, as it stands.

Nothing is mended: numbers stay before their facts, a line said twice is trained twice. Quizzes are
cut where a question begins, each with its answer as one text. Only what no tokenizer can be given
is left out (halves of characters, controls).
"""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby

from selfedit.config import EditSettings
from selfedit.tasks.knowledge.edits import MAX_LINE, ParsedEdit, after_thoughts, without_filler
from selfedit.tasks.knowledge.translations import ENGLISH

_BEGINS_A_QUESTION = re.compile(r"^Question\s*\d*\s*:", re.IGNORECASE)


def as_written(text: str, settings: EditSettings) -> ParsedEdit:
    """The non-empty lines of a self-edit, or the questions of a quiz with their answers; never
    raises, whatever the text.
    """
    rows = [row for row in map(_printable, text.splitlines()) if row]
    if settings.format == "self-qa":
        lines = _quiz(rows)
    else:
        lines = without_filler(
            after_thoughts(rows) if settings.format == "chain-of-thought" else rows
        )
    # The published code has no such bound; endless texts have to end somewhere.
    over = len(lines) - settings.max_lines
    return ParsedEdit(
        tuple(lines[: settings.max_lines]), (), dropped={"over max_lines": over} if over > 0 else {}
    )


def _quiz(rows: list[str]) -> list[str]:
    """Blocks that begin with a question; a base model's first one goes on from the prompt's cue."""
    if rows and not _BEGINS_A_QUESTION.match(rows[0]):
        # The cue stands in the prompt, so the text begins behind it.
        rows = [ENGLISH.cues["self-qa"] + rows[0], *rows[1:]]
    number = 0
    numbered: list[tuple[int, str]] = []
    for row in rows:
        number += bool(_BEGINS_A_QUESTION.match(row))
        numbered.append((number, row))
    # Rows before the first question have number 0 and make a block too, as published.
    blocks = groupby(numbered, key=lambda pair: pair[0])
    return ["\n".join(row for _, row in block) for _, block in blocks]


def _printable(row: str) -> str:
    # Cut before it is looked at: a line may be a megabyte.
    visible = (char for char in row[: 8 * MAX_LINE] if unicodedata.category(char)[0] != "C")
    return "".join(visible).strip()[:MAX_LINE]
