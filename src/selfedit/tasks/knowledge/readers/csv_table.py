"""A table as text: a line a row, each cell with the name of its column, so that a row says what it
is about wherever a passage is cut.
"""

from __future__ import annotations

import csv
import io

from selfedit.storage.bounded import Unreadable, decoded
from selfedit.tasks.knowledge.readers.extracted import CannotRead, Extracted, escaped, lines_as_text

MAX_COLUMNS = 1000
_SAMPLE = 64_000


def markdown(data: bytes) -> Extracted:
    """The rows of a table whose first row names the columns."""
    try:
        text = decoded(data)
    except Unreadable as error:
        raise CannotRead(error.reason, "save it as UTF-8") from None
    try:
        rows = _table_rows(text)
    except csv.Error as error:
        raise CannotRead(f"it is no table: {error}", "save it again as CSV") from None
    if not rows:
        raise CannotRead("it is empty", "put a table in it")
    names, *body = rows
    if len(names) > MAX_COLUMNS:
        raise CannotRead(f"it has more than {MAX_COLUMNS} columns", "leave some out")
    if not body:  # one row alone names nothing
        return Extracted(lines_as_text([escaped(", ".join(names))]))
    return Extracted(lines_as_text(_sentence(names, row) for row in body))


def _table_rows(text: str) -> list[list[str]]:
    try:
        dialect = csv.Sniffer().sniff(text[:_SAMPLE], delimiters=",;\t|")
    except csv.Error:  # one column has no delimiter to find
        dialect = csv.excel
    reader = csv.reader(io.StringIO(text, newline=""), dialect)
    return [row for row in reader if any(cell.strip() for cell in row)]


def _sentence(names: list[str], row: list[str]) -> str:
    """``Name: Ada. Born: 1815.``; a cell beyond the named columns stands alone."""
    parts: list[str] = []
    for number, cell in enumerate(row):
        value = " ".join(cell.split())
        name = names[number].strip() if number < len(names) else ""
        if value:
            parts.append(f"{name}: {value}" if name else value)
    return escaped("; ".join(parts))
