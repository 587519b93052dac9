"""A Word document's text: headings by their styles, lists, tables; tracked insertions are kept,
deletions are not.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from docx import Document
from docx.oxml.ns import qn

from selfedit.tasks.knowledge.readers.archive import check_archive
from selfedit.tasks.knowledge.readers.extracted import Extracted, escaped, lines_as_text, table

_PARAGRAPH, _TABLE, _BLOCK = qn("w:p"), qn("w:tbl"), qn("w:sdt")
_TEXT, _TAB, _BREAKS = qn("w:t"), qn("w:tab"), (qn("w:br"), qn("w:cr"))
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)


def markdown(data: bytes) -> Extracted:
    """The text of the body, in its order."""
    check_archive(data)
    document = Document(io.BytesIO(data))
    styles = {style.style_id: (style.name or "") for style in document.styles}
    return Extracted(lines_as_text(_body_blocks(document.element.body, styles)))


def _body_blocks(parent: Any, styles: dict[str, str]) -> Iterator[str]:
    for child in parent:
        if child.tag == _PARAGRAPH:
            yield _paragraph(child, styles)
        elif child.tag == _TABLE:
            yield table([[_paragraph_text(cell) for cell in row.tc_lst] for row in child.tr_lst])
        elif child.tag == _BLOCK:  # a content control: a form's field, a table of contents
            for content in child.findall(qn("w:sdtContent")):
                yield from _body_blocks(content, styles)


def _paragraph(element: Any, styles: dict[str, str]) -> str:
    line = escaped(_paragraph_text(element))
    if not line:
        return ""
    style = styles.get(element.style or "", "")
    if style.casefold() == "title":
        return f"# {line}"
    if heading := _HEADING.match(style):
        return f"{'#' * min(int(heading[1]), 6)} {line}"
    numbered = element.pPr is not None and element.pPr.numPr is not None
    return f"- {line}" if numbered or style.startswith("List") else line


def _paragraph_text(element: Any) -> str:
    """All text under an element: of hyperlinks, insertions and text boxes too, each once."""
    parts: list[str] = []
    waiting = [element]
    while waiting:
        node = waiting.pop()
        if node.tag == _TEXT:
            parts.append(node.text or "")
        elif node.tag == _TAB or node.tag in _BREAKS:
            parts.append(" ")
        elif node.tag == _FALLBACK:  # says again what stands beside it
            continue
        elif node.tag == _PARAGRAPH and parts:
            parts.append(" ")
        waiting.extend(reversed(node))
    return "".join(parts)
