"""Results on stdout: JSON, tables, and text a model wrote."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfedit.results.tabular import Table


def print_json(value: Any) -> None:
    """Plain data as JSON, keys sorted, NaN as null."""
    from selfedit.storage.files import canonical_json

    sys.stdout.write(canonical_json(value).decode())


def neutralised(text: str) -> str:
    """A model's text without anything that could steer a terminal; its line breaks stay."""
    lines = text.replace("\t", "    ").splitlines()
    return "\n".join(map(_printable, lines))


def _printable(line: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """A table of text. Every column after the first is flush right."""
    from selfedit.results.tabular import Table

    _print(Table.make(title, columns, rows))


def _print_rich(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=table.title or None, title_justify="left")
    for number, column in enumerate(table.columns):
        drawn.add_column(column.name, justify="right" if number else "left")
    for row in table.shown():
        drawn.add_row(*[Text(neutralised(cell)) for cell in row])
    Console().print(drawn)


def percent(share: float | None, *, signed: bool = False) -> str:
    """A share as percent with one decimal; "?" where it is not known."""
    return "?" if share is None else f"{100 * share:{'+' if signed else ''}.1f}"


def print_results(stored: dict[str, Any]) -> None:
    """A run's rows, what must be said of them, the paired differences, what else it found."""
    from selfedit.results.layout import HELD_OUT, main_tables, more_tables
    from selfedit.results.results import Results

    results = Results.read(stored)
    rows, *others = main_tables(results, results.title or HELD_OUT)
    _print(rows)
    for note in results.notes:
        print(neutralised(note))
    if results.notes:
        print()
    for table in [*others, *more_tables(results)]:
        _print(table)


def _print(table: Table) -> None:
    """A table: drawn on a terminal, aligned text elsewhere."""
    from selfedit.results.render import as_text

    if sys.stdout.isatty():
        _print_rich(table)
    else:
        print(as_text(table), end="\n\n")
