"""A table for a terminal, for Markdown, for a page: the same cells, each made harmless for where it
goes.
"""

from __future__ import annotations

from selfedit.results.tabular import Table
from selfedit.storage.neutral import in_html, in_line, in_markdown


def as_text(table: Table) -> str:
    """Aligned columns under the title; columns of numbers are flush right."""
    heads = [in_line(column.name) for column in table.columns]
    rows = [list(map(in_line, row)) for row in table.shown()]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [in_line(table.title)] if table.title else []
    columns = list(zip(widths, table.flush_right(), strict=True))
    for row in (heads, ["-" * width for width in widths], *rows):
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, (width, right) in zip(row, columns, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def as_markdown(table: Table) -> str:
    """A table of Markdown, its title as the words before it."""
    heads = [column.name for column in table.columns]
    lines = [heads, ["---:" if right else "---" for right in table.flush_right()], *table.shown()]
    body = "\n".join(f"| {' | '.join(map(in_markdown, line))} |" for line in lines)
    if not table.title:
        return body
    lead = table.title if table.title.endswith("?") else f"{table.title}:"
    return f"{in_markdown(lead, starts_line=True)}\n\n{body}"


def as_html(table: Table) -> str:
    """A table of HTML under its title."""
    title = f"<h2>{in_html(table.title)}</h2>\n" if table.title else ""
    head = "".join(f"<th>{in_html(column.name)}</th>" for column in table.columns)
    body = "".join(f"<tr>{_html_cells(row)}</tr>\n" for row in table.shown())
    return f"{title}<table>\n<tr>{head}</tr>\n{body}</table>"


def _html_cells(row: list[str]) -> str:
    return "".join(f"<td>{in_html(cell)}</td>" for cell in row)
