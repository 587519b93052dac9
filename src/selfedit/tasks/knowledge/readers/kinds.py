"""The kinds of document that need a reader: by a file's ending."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of document.

    Attributes:
        noun: what a message calls it.
        module: the reader, a module beside this one with ``markdown(data) -> Extracted``.
        packages: what it imports, as Python names them.
    """

    noun: str
    module: str
    packages: tuple[str, ...] = ()


_HTML = Kind("an HTML page", "web", ("bs4", "lxml", "markdownify"))
_TABLE = Kind("a table", "csv_table")

KINDS = {
    ".pdf": Kind("a PDF", "pdf", ("pypdf",)),
    ".docx": Kind("a Word document", "docx", ("docx",)),
    ".pptx": Kind("a presentation", "pptx", ("pptx",)),
    ".html": _HTML,
    ".htm": _HTML,
    ".xhtml": _HTML,
    ".epub": Kind("an EPUB book", "epub", ("bs4", "lxml", "markdownify")),
    ".csv": _TABLE,
    ".tsv": _TABLE,
}

CONVERTIBLE = {
    ".doc": "save it as .docx",
    ".odt": "save it as .docx",
    ".rtf": "save it as .docx",
    ".ppt": "save it as .pptx",
    ".odp": "save it as .pptx",
    ".xls": "save its sheets as .csv",
    ".xlsx": "save its sheets as .csv",
    ".ods": "save its sheets as .csv",
    ".mobi": "convert it to .epub",
}
"""Kinds that are not read, and what to do with them."""
EXTRA = "pip install 'selfedit[documents]'"
