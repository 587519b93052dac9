"""A page's measured numbers, written into it from benchmarks' results: nobody copies them by hand.

A place to fill is ``<!-- bench NAME -->`` … ``<!-- end -->``, each on a line of its own; NAME is
the benchmark's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from selfedit.errors import DataError, FormatError
from selfedit.report.bench_gpu import BenchResults
from selfedit.report.bench_tables import BenchTable, bench_tables
from selfedit.storage.bounded import BoundedReader
from selfedit.storage.files import write_atomic
from selfedit.storage.neutral import in_markdown

_MARKED = re.compile(
    r"(?P<start><!-- bench (?P<name>[a-z]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)


def fill_page(page: Path, results: Sequence[Path]) -> list[str]:
    """Replace what stands in the page's places by what the results say; returns the names of the
    places filled.

    Args:
        page: a Markdown page.
        results: files a benchmark wrote (``results.json``, or what ``--json`` printed), or folders
            with one.

    Raises:
        DataError: a file is missing, or the page has no place for it.
        FormatError: a file is no benchmark's result.
    """
    try:
        text = page.read_text("utf-8")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name no file can have
        raise DataError(f"the page cannot be read: {error}", where=page) from error
    results_by_name = dict(_read_results(path) for path in results)
    places = [match["name"] for match in _MARKED.finditer(text)]
    if missing := sorted(results_by_name.keys() - set(places)):
        fix = f"add the lines <!-- bench {missing[0]} --> and <!-- end -->"
        raise DataError(
            f"the page has no place for the benchmark {missing[0]!r}", where=page, fix=fix
        )

    def filled(match: re.Match[str]) -> str:
        name = match["name"]
        return (
            match["start"] + bench_markdown(results_by_name[name]) + match["end"]
            if name in results_by_name
            else match[0]
        )

    write_atomic(page, _MARKED.sub(filled, text).encode())
    return [name for name in places if name in results_by_name]


def bench_markdown(results: BenchResults) -> str:
    """A benchmark's tables and notes as Markdown.

    Raises:
        FormatError: these are no benchmark's results, or of another version.
    """
    try:
        return _page_text(results)
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise FormatError(
            f"this is no benchmark's result: {error!r:.200}",
            where=results.get("benchmark"),
            fix="run the benchmark again",
        ) from error


def _page_text(results: BenchResults) -> str:
    parts = [_table_lines(table) for table in bench_tables(results)]
    if notes := results.get("notes"):
        parts.append("".join(f"- {in_markdown(note, starts_line=True)}\n" for note in notes))
    return "\n" + "\n".join(parts) + "\n"


def _table_lines(table: BenchTable) -> str:
    lines = [f"{in_markdown(table.title, starts_line=True)}:\n"] if table.title else []
    lines.append(_line(table.columns))
    lines.append("|---|" + "---:|" * (len(table.columns) - 1))
    lines += [_line(row) for row in table.rows]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(in_markdown(cell) for cell in cells)} |"


def _read_results(path: Path) -> tuple[str, BenchResults]:
    file = path / "results.json" if path.is_dir() else path
    results = BoundedReader("the benchmark's result", fix="let the benchmark finish first").json(
        file
    )
    if not isinstance(results, dict) or "benchmark" not in results:
        raise FormatError("this is no benchmark's result", where=file)
    return str(results["benchmark"]), results
