"""A presentation's text: a section a slide, its text from top to bottom, tables, and the speaker's
notes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from pptx import Presentation

from selfedit.tasks.knowledge.readers.archive import check_archive
from selfedit.tasks.knowledge.readers.extracted import Extracted, escaped, lines_as_text, table


def markdown(data: bytes) -> Extracted:
    """The text of all slides, in their order."""
    check_archive(data)
    bare: list[int] = []
    parts: list[str] = []
    for number, slide in enumerate(Presentation(io.BytesIO(data)).slides, 1):
        title = slide.shapes.title
        heading = escaped(title.text_frame.text) if title is not None else ""
        blocks = [block for block in _slide_blocks(slide) if block]
        if not (heading or blocks):
            bare.append(number)
            continue
        parts += [f"## {heading or f'Slide {number}'}", *blocks]
    notes = [f"slides without text: {', '.join(map(str, bare))}"] if bare else []
    return Extracted(lines_as_text(parts), notes)


def _slide_blocks(slide: Any) -> Iterator[str]:
    """What stands on a slide besides its title, and the speaker's notes."""
    title = slide.shapes.title
    for shape in _in_order(slide.shapes):
        if title is None or shape.shape_id != title.shape_id:
            yield from _shape(shape)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        yield escaped(slide.notes_slide.notes_text_frame.text)


def _in_order(shapes: Any) -> list[Any]:
    """Shapes from top to bottom and from left to right; a placeholder may have no place."""
    return sorted(shapes, key=lambda shape: (shape.top or 0, shape.left or 0))


def _shape(shape: Any) -> Iterator[str]:
    if hasattr(shape, "shapes"):  # a group
        for inner in _in_order(shape.shapes):
            yield from _shape(inner)
    elif getattr(shape, "has_table", False):
        yield table([[cell.text for cell in row.cells] for row in shape.table.rows])
    elif shape.has_text_frame:
        lines = [escaped(paragraph.text) for paragraph in shape.text_frame.paragraphs]
        lines = [line for line in lines if line]
        yield lines[0] if len(lines) == 1 else "\n".join(f"- {line}" for line in lines)
