"""A PDF's text with its outline's headings; running heads and page numbers are left out."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from pypdf import PdfReader
from pypdf.errors import PdfReadError

from selfedit.tasks.knowledge.readers.extracted import CannotRead, Extracted, escaped, lines_as_text

MAX_PAGES = 5000
MAX_OUTLINE = 5000
_EDGE = 2  # lines at the top and at the bottom of a page that may be running heads
_PAGE_NUMBER = re.compile(r"\W*(page\s*)?(\d+|[ivxlc]+)(\s*(of|/)\s*\d+)?\W*", re.IGNORECASE)
_PARAGRAPH_ENDS = (".", "!", "?", ":", ";", "。", "！", "？", "”", '"')
_LIST_ITEM = re.compile(r"([•●▪◦‣–-]|\(?\d{1,3}[.)])\s+")


def markdown(data: bytes) -> Extracted:
    """The text of all pages."""
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise CannotRead("it is locked with a password", "save a copy without one")
        count = len(reader.pages)
    except PdfReadError as error:
        raise CannotRead(f"it is damaged: {error}", "save or print it anew as PDF") from None
    if count > MAX_PAGES:
        raise CannotRead(f"it has {count:,} pages, more than {MAX_PAGES:,}", "split it")
    pages = [page_lines(page.extract_text()) for page in reader.pages]
    bare = [number for number, lines in enumerate(pages, 1) if not lines]
    if len(bare) == count:
        raise CannotRead(
            "its pages are pictures: there is no text in them",
            "recognise the text first, for example with ocrmypdf",
        )
    headings = _headings(reader)
    text = lines_as_text(_paragraphs(without_running_heads(pages), headings))
    notes = [] if not bare else [f"{len(bare)} of {count} pages hold no text: {_page_list(bare)}"]
    return Extracted(text, notes)


def page_lines(text: str) -> list[str]:
    """The lines of a page that hold something; surrogate halves, which no font should give, go."""
    clean = text.encode("utf-8", "ignore").decode("utf-8").replace("\0", "")
    return [line for line in (" ".join(line.split()) for line in clean.splitlines()) if line]


def without_running_heads(pages: Sequence[Sequence[str]]) -> list[list[str]]:
    """Pages without the lines that most of them begin or end with, and without page numbers."""
    visited = Counter(
        shape for lines in pages for shape in {_shape(line) for line in _edges(lines)}
    )
    often = {shape for shape, times in visited.items() if times >= max(3, len(pages) / 2)}

    def is_running(line: str) -> bool:
        return _shape(line) in often or _PAGE_NUMBER.fullmatch(line) is not None

    kept: list[list[str]] = []
    for lines in pages:
        first, last = 0, len(lines)
        while first < min(_EDGE, last) and is_running(lines[first]):
            first += 1
        while last > max(first, len(lines) - _EDGE) and is_running(lines[last - 1]):
            last -= 1
        kept.append(list(lines[first:last]))
    return kept


def _edges(lines: Sequence[str]) -> list[str]:
    return [*lines[:_EDGE], *lines[-_EDGE:]]


def _shape(line: str) -> str:
    """A line with its numbers alike: "Chapter 3" and "Chapter 4" are one running head."""
    return re.sub(r"\d+", "0", line).casefold()


def _paragraphs(pages: Sequence[Sequence[str]], headings: dict[str, int]) -> Iterator[str]:
    """Lines put together to paragraphs; a page's end does not end one."""
    lines = [line for page in pages for line in page]
    usual = sorted(map(len, lines))[int(0.8 * len(lines))] if lines else 0
    paragraph = ""
    for line in lines:
        level = headings.get(line.casefold())
        if level is not None or _LIST_ITEM.match(line):
            yield paragraph
            paragraph = ""
        if level is not None:
            yield f"{'#' * level} {escaped(line)}"
            continue
        paragraph = _continued(paragraph, line)
        # A line that is much shorter than the others and ends a sentence is a paragraph's last.
        if len(line) < 0.75 * usual and line.endswith(_PARAGRAPH_ENDS):
            yield paragraph
            paragraph = ""
    yield paragraph


def _continued(paragraph: str, line: str) -> str:
    """A paragraph and its next line; a word that was parted at the line's end is whole again."""
    if not paragraph:
        item = _LIST_ITEM.match(line)
        if item and item[1][-1] not in ".)":
            return f"- {escaped(line[item.end() :])}"
        return escaped(line)
    if re.search(r"\w-$", paragraph) and line[:1].islower():
        return paragraph[:-1] + escaped(line)
    return f"{paragraph} {escaped(line)}"


def _headings(reader: PdfReader) -> dict[str, int]:
    """The outline's titles with their levels, 1 to 6; nothing where the outline is damaged."""
    try:
        outline: Any = reader.outline
    except Exception:  # a damaged outline is no reason to lose the text
        return {}
    levels: dict[str, int] = {}
    waiting = [(outline, 1)]
    while waiting and len(levels) < MAX_OUTLINE:
        entries, level = waiting.pop()
        for entry in entries:
            if isinstance(entry, list):
                waiting.append((entry, level + 1))
            elif title := " ".join(str(getattr(entry, "title", "") or "").split()):
                levels.setdefault(title.casefold(), min(level, 6))
    return levels


def _page_list(numbers: Sequence[int], most: int = 10) -> str:
    visible = ", ".join(map(str, numbers[:most]))
    return visible if len(numbers) <= most else f"{visible}, …"
