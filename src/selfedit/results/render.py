"""A table for a terminal, for Markdown, for a page: the same cells, each made harmless for where it goes."""

from __future__ import annotations

from html import escape

from selfedit.results.tabular import Table


def printable(text: str, instead: str) -> str:
    """Text without anything that could steer a terminal or break a line."""
    return "".join(char if char.isprintable() else instead for char in text)


def as_text(table: Table) -> str:
    """Aligned columns under the title; every column after the first is flush right."""
    heads = [column.name for column in table.columns]
    rows = [[printable(cell, "\ufffd") for cell in row] for row in table.shown()]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [table.title] if table.title else []
    for row in (heads, ["-" * width for width in widths], *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def as_markdown(table: Table) -> str:
    """A table of Markdown, its title as the words before it."""
    heads = [column.name for column in table.columns]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *table.shown()]
    body = "\n".join(f"| {' | '.join(markdown_text(cell) for cell in line)} |" for line in lines)
    if not table.title:
        return body
    lead = table.title if table.title.endswith("?") else f"{table.title}:"
    return f"{markdown_text(lead)}\n\n{body}"


def markdown_text(text: str) -> str:
    """Text that stays in its cell."""
    return printable(text, " ").replace("|", "\\|").replace("<", "&lt;")


def as_html(table: Table) -> str:
    """A table of HTML under its title."""
    title = f"<h2>{escape(table.title)}</h2>\n" if table.title else ""
    head = "".join(f"<th>{escape(column.name)}</th>" for column in table.columns)
    body = "".join(f"<tr>{_html_cells(row)}</tr>\n" for row in table.shown())
    return f"{title}<table>\n<tr>{head}</tr>\n{body}</table>"


def _html_cells(row: list[str]) -> str:
    return "".join(f"<td>{escape(cell)}</td>" for cell in row)
