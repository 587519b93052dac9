"""Results on stdout: JSON, tables, and text a model wrote."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from selfedit.storage.neutral import in_line, in_lines


def print_json(value: Any) -> None:
    """Plain data as JSON, keys sorted, NaN as null."""
    from selfedit.storage.files import canonical_json

    sys.stdout.write(canonical_json(value).decode())


def write(text: object = "") -> None:
    """Text on stdout, its line breaks kept, without anything that could steer a terminal."""
    sys.stdout.write(in_lines(text) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """A table: drawn on a terminal, aligned text elsewhere. Every column after the first is flush right."""
    columns, rows, title = [*map(in_line, columns)], [[*map(in_line, row)] for row in rows], in_line(title)
    if sys.stdout.isatty():
        _print_rich(columns, rows, title)
        return
    widths = [max(len(row[place]) for row in (columns, *rows)) for place in range(len(columns))]
    if title:
        write(title)
    for row in (columns, ["-" * width for width in widths], *rows):
        first, *rest = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *[cell.rjust(width) for cell, width in rest]]
        write("  ".join(cells).rstrip())
    write()


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title) if title else None, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if place else "left")
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    Console().print(table)


def percent(share: float | None, *, signed: bool = False) -> str:
    """A share as percent with one decimal; "?" where it is not known."""
    return "?" if share is None else f"{100 * share:{'+' if signed else ''}.1f}"


def print_results(results: dict[str, Any]) -> None:
    """A run's table, what must be said of it, the paired differences of neighbouring methods, what else it found."""
    from selfedit.report.words import method_name

    columns = ["method", "accuracy %", "se", "n"]
    rows = [
        [method_name(results, r["method"]), percent(r["accuracy"]), percent(r["se"]), str(r["n"])]
        for r in results["rows"]
    ]
    if results["rows"] and all("trials" in r for r in results["rows"]):
        columns.append("trials")
        for row, r in zip(rows, results["rows"], strict=True):
            row.append(str(r["trials"]))
    print_table(columns, rows, title=results.get("title", "Held-out passages (n counts passages)"))
    for note in results.get("notes", []):
        write(note)
    if results.get("notes"):
        write()
    gaps = [
        [f"{p['a']} − {p['b']}", percent(p["difference"], signed=True), percent(p["se"]), str(p["n"])]
        for p in results["paired"]
    ]
    columns = ["paired difference", "points", "se", "n"]
    if "runs" in results:
        columns += [f"each of {results['runs']} runs", "se over runs"]
        for gap, p in zip(gaps, results["paired"], strict=True):
            gap += [", ".join(percent(d, signed=True) for d in p["by_run"]), percent(p["se_runs"])]
    if gaps:
        print_table(columns, gaps)
    for table in results.get("tables", []):
        print_table(table["columns"], table["rows"], title=table["title"])
