"""A run's tables as Markdown, and a page's block of them rewritten: the numbers of recipes/*.md
come from here only.

A page marks where tables go: ``<!-- results: NAME -->`` and ``<!-- end of results -->``, each on a
line of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from selfedit.errors import DataError
from selfedit.results.layout import main_tables, more_tables, notes_of
from selfedit.results.render import as_markdown
from selfedit.results.results import Results
from selfedit.results.tabular import Table
from selfedit.storage.files import write_atomic
from selfedit.storage.neutral import in_line, in_markdown

END = "<!-- end of results -->"


def begin(name: str) -> str:
    """The line before a block."""
    return f"<!-- results: {name} -->"


def results_markdown(results: Results, curves: Sequence[Table] = (), *, short: bool = False) -> str:
    """Rows, paired differences and what else was found, as Markdown; published numbers in a column
    beside ours.

    Args:
        results: of a run, or of several as one.
        curves: tables of several runs round by round, after the differences.
        short: rows, differences and curves alone.

    Raises:
        DataError: the results hold no table.
    """
    if not (results.rows or results.tables):
        fix = "give the folder of a finished experiment"
        raise DataError(
            "there is no table of methods in these results", where=results.experiment, fix=fix
        )
    more = [] if short else more_tables(results)
    rows = main_tables(results) if results.rows else []
    tables = [as_markdown(table) for table in [*rows, *curves, *more]]
    parts = [_about_line(results), *tables, _learned_on(results), _notes(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def table_with_notes(table: Table, notes: Sequence[str]) -> str:
    """A table as Markdown, and a list of notes below it."""
    listed = "\n".join(f"- {in_markdown(note, starts_line=True)}" for note in notes)
    return f"{as_markdown(table)}\n\n{listed}\n" if notes else f"{as_markdown(table)}\n"


def rewrite(page: Path, name: str, text: str) -> None:
    """Put ``text`` into the page's block of that name; the rest of the page stays as it is.

    Raises:
        DataError: the page cannot be read, or has no such block.
    """
    try:
        before = page.read_text("utf-8")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name no file can have
        raise DataError(f"the page cannot be read: {error}", where=page) from error
    block = re.compile(rf"({re.escape(begin(name))}\n).*?({re.escape(END)})", re.DOTALL)
    if len(block.findall(before)) != 1:
        fix = f"put these two lines where the tables shall be:\n    {begin(name)}\n    {END}"
        raise DataError(
            f"the page has not one block of results named {name!r}", where=page, fix=fix
        )
    write_atomic(page, block.sub(lambda match: f"{match[1]}\n{text}\n{match[2]}", before).encode())


def _about_line(results: Results) -> str:
    settings = results.settings
    seeds = results.more.get("inner_seeds") or settings.get("eval", {}).get("repeats", 1)
    runs = results.seeds or [settings.get("seed", "?")]
    about = [
        f"Model {_code(results.model.get('name'))}",
        *([f"grader {_code(results.grader)}"] if results.grader else []),
        f"{seeds} inner seed{'s' if seeds > 1 else ''}",
        f"run seed{'s' if len(runs) > 1 else ''} {', '.join(map(str, runs))}",
    ]
    counted = results.title or "n counts passages, the standard error is over passages"
    sentence = f"{', '.join(about)}. {in_markdown(counted)}."
    beside = results.published.rows or results.published.more
    return f"{sentence} Published: {in_markdown(results.published.source)}." if beside else sentence


def _learned_on(results: Results) -> str:
    if "tasks" not in results.more:
        return ""
    return (
        f"RL learned on: {', '.join(map(in_markdown, results.more['tasks']['train'])) or 'none'}."
    )


def _notes(results: Results) -> str:
    return "\n".join(f"- {in_markdown(note, starts_line=True)}" for note in notes_of(results))


def _code(value: object) -> str:
    return f"`{in_line(value).replace('`', '').replace('|', '/')}`"
