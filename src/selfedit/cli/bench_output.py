"""What the benchmarks' verbs share: lists of numbers as they are typed, and their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selfedit.cli.output import print_json, print_table, write

if TYPE_CHECKING:
    from selfedit.storage.files import JsonObject


def numbers(text: str) -> tuple[int, ...]:
    """A list of positive whole numbers as it is typed, each once, in order.

    Raises:
        UsageError: it is none.
    """
    from selfedit.errors import UsageError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"these are not positive whole numbers: {text!r}", fix="such as 1,8,16")
    return tuple(sorted({int(part) for part in parts}))


def show_bench(results: JsonObject, *, json: bool) -> None:
    """A benchmark's tables and notes, or all of it as JSON."""
    if json:
        print_json(results)
        return
    from selfedit.report.bench_tables import bench_tables

    for title, columns, rows in bench_tables(results):
        print_table(columns, rows, title=title)
    for note in results.get("notes", ()):
        write(f"- {note}")
