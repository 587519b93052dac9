"""Results on stdout: JSON, tables, and text a model wrote."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from selfedit.cli.command import say
from selfedit.storage.neutral import in_line, in_lines

if TYPE_CHECKING:
    from pathlib import Path

    from selfedit.results.tabular import Table


def print_json(value: Any) -> None:
    """Plain data as JSON, keys sorted, NaN as null."""
    from selfedit.storage.files import canonical_json

    sys.stdout.write(canonical_json(value).decode())


def write(text: object = "") -> None:
    """Text on stdout, its line breaks kept, without anything that could steer a terminal."""
    sys.stdout.write(in_lines(text) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """A table of text. Columns of numbers are flush right."""
    from selfedit.results.tabular import Table

    print_results_table(Table.make(title, columns, rows))


def _print_rich(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    title = Text(in_line(table.title)) if table.title else None
    rich_table = RichTable(title=title, title_justify="left")
    for column, right in zip(table.columns, table.flush_right(), strict=True):
        rich_table.add_column(Text(in_line(column.name)), justify="right" if right else "left")
    for row in table.shown():
        rich_table.add_row(*[Text(in_line(cell)) for cell in row])
    Console().print(rich_table)


def counted(number: int, what: str) -> str:
    """So many of something: ``1 passage``, ``2 passages``."""
    return f"{number} {what}{'s' * (number != 1)}"


def percent(share: float | None, *, signed: bool = False) -> str:
    """A share as percent with one decimal; "?" where it is not known."""
    return "?" if share is None else f"{100 * share:{'+' if signed else ''}.1f}"


def print_run(stored: dict[str, Any], folder: Path, *, json: bool) -> None:
    """A run's results, and where they and their page are."""
    if json:
        print_json(stored)
        return
    print_results(stored)
    say(f"results: {folder / 'results.json'}; a page: selfedit report {folder}")


def print_results(stored: dict[str, Any]) -> None:
    """A run's rows, what must be said of them, the paired differences, what else it found."""
    from selfedit.results.layout import HELD_OUT, main_tables, more_tables, notes_of
    from selfedit.results.results import Results

    results = Results.read(stored)
    rows, *others = main_tables(results, results.title or HELD_OUT)
    if rows.rows:  # a run without held-out passages has none
        print_results_table(rows)
    notes = notes_of(results)
    for note in notes:
        write(note)
    if notes:
        write()
    for table in [*others, *more_tables(results)]:
        print_results_table(table)


def print_results_table(table: Table) -> None:
    """A table: drawn on a terminal, aligned text elsewhere."""
    from selfedit.results.render import as_text

    if sys.stdout.isatty():
        _print_rich(table)
    else:
        write(as_text(table))
        write()
