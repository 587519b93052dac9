"""What a reader makes of a document, and how it says that it cannot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_TEXT = 16_000_000
"""Characters of a document's text; a thousand printed pages have some three million."""


@dataclass(frozen=True)
class Extracted:
    """A document's text.

    Attributes:
        text: Markdown: headings, lists and tables as the document has them.
        notes: what a reader of the result should know: pages without text, a password.
    """

    text: str
    notes: Sequence[str] = ()


class CannotRead(Exception):
    """Why a document is not read, as the end of a sentence, and what to do about it."""

    def __init__(self, reason: str, fix: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


def lines_as_text(parts: Iterable[str], between: str = "\n\n") -> str:
    """Parts that are not blank as one text.

    Raises:
        CannotRead: they are longer than `MAX_TEXT`.
    """
    kept: list[str] = []
    size = 0
    for part in parts:
        if not part.strip():
            continue
        size += len(part)
        if size > MAX_TEXT:
            raise CannotRead(
                f"it has more than {MAX_TEXT:,} characters of text", "split it into several files"
            )
        kept.append(part.strip("\n"))
    return between.join(kept)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table, the first row as its head."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    cells = [row for row in cells if any(row)]
    if not cells:
        return ""
    width = max(map(len, cells))
    lines = [f"| {' | '.join([*row, *[''] * (width - len(row))])} |" for row in cells]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])


def escaped(text: str) -> str:
    """A line of plain text that Markdown leaves as it is."""
    # Not `in_markdown`: it shows joiners, which words of some scripts need, as spaces.
    line = " ".join(text.split())
    for sign in "\\`*_<[":
        line = line.replace(sign, "\\" + sign)
    return "\\" + line if line[:1] in ("#", ">", "|", "-", "+", "=") else line
