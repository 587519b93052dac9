"""Documents to passages: plain text or Markdown in, titled passages of a bounded size out.

A document is cut at its headings, a section is packed from its paragraphs up to ``max_words``, and
a paragraph that is longer than that is cut between sentences. Only a sentence that is too long by
itself is cut between words. How size is
counted: see :mod:`selfedit.tasks.knowledge.units`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from selfedit.errors import DocumentError, UsageError
from selfedit.tasks.knowledge.markdown import Heading, markdown_blocks
from selfedit.tasks.knowledge.units import (
    WORD,
    cut_sentences,
    is_heading,
    soften,
    units,
    word_count,
)

MAX_BYTES = 4_000_000
"""The largest document read unless the caller says otherwise: more than a thousand printed pages.
"""
MAX_WORDS = 120
"""The default size of a passage, about that of a SQuAD paragraph."""
TRAIL = " › "
"""Stands between the headings of a title."""

_UNDERLINE = re.compile(r"([=\-~^*#+\"'`:.])\1{2,}")
_LIST_LINE = re.compile(r"\s|[-*+•] |\d+[.)] ")
_KNOWN_BINARIES = {b"%PDF-": "a PDF file", b"PK\x03\x04": "a ZIP archive or an Office document"}


@dataclass(frozen=True)
class Passage:
    """A piece of a document.

    Attributes:
        title: the trail of headings above it ("Handbook › Holidays"), or the document's title where
            there is none.
        text: the passage, never empty, at most ``max_words`` long.
    """

    title: str
    text: str


def read_document(path: str | Path, *, max_bytes: int | None = MAX_BYTES) -> str:
    """The text of a file in UTF-8 (with or without a byte order mark) or in UTF-16 with one.

    Args:
        path: the file.
        max_bytes: refuse a larger file; None for no limit.

    Raises:
        DocumentError: the file is missing, unreadable, too large, binary, empty, or in another
            encoding.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            # One byte more than allowed tells a file that is too large from one that just fits.
            data = file.read(-1 if max_bytes is None else max_bytes + 1)
    except FileNotFoundError:
        raise DocumentError("the file does not exist", where=path, fix="check the path") from None
    except OSError as error:
        fix = "give a readable file"
        raise DocumentError(
            f"the file cannot be opened: {error.strerror}", where=path, fix=fix
        ) from error
    if max_bytes is not None and len(data) > max_bytes:
        raise DocumentError(
            f"the file has {path.stat().st_size:,} bytes, more than the limit of {max_bytes:,}",
            where=path,
            fix=f"split it into several files, or raise max_bytes (now {max_bytes})",
        )
    text = _decode(data, path)
    if not text.strip():
        raise DocumentError("the file is empty", where=path, fix="give a file with text in it")
    return text


def _decode(data: bytes, path: Path) -> str:
    """Bytes to text, by the byte order mark or else as UTF-8, refusing what is not text."""
    # By content: a PDF is often called .txt.
    for magic, kind in _KNOWN_BINARIES.items():
        if data.startswith(magic):
            raise DocumentError(
                f"this is {kind}, not text",
                where=path,
                fix="save or convert it as plain text first",
            )
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    # Before decoding: UTF-8 allows a zero byte, texts have none.
    if not utf16 and b"\0" in data:
        raise _binary(path, data.index(b"\0"))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        # the utf-8-sig and utf-16 decoders count from behind the byte order mark
        offset = error.start + (len(data) - len(error.object))
        raise DocumentError(
            f"the file is not valid {'UTF-16' if utf16 else 'UTF-8'}",
            where=f"{path}, byte {offset}",
            fix="save it as UTF-8, for example: iconv -f LATIN1 -t UTF-8 old.txt > new.txt",
        ) from error
    if "\0" in text:
        raise _binary(path, len(data) - len(text[text.index("\0") :].encode("utf-16-le")))
    return text


def _binary(path: Path, offset: int) -> DocumentError:
    fix = "give a text file; if it is UTF-16 without a byte order mark or UTF-32, save it as UTF-8"
    return DocumentError(
        "the file is binary: it holds a zero byte", where=f"{path}, byte {offset}", fix=fix
    )


def split_document(
    text: str, *, title: str, markdown: bool, max_words: int = MAX_WORDS
) -> list[Passage]:
    """The passages of a document, in its order; the same text always gives the same passages.

    Every word of the text is in a passage or in the title of one. Left out on purpose: markup, link
    targets, front matter, HTML tags, comments and scripts. Code is kept as text, a table as one
    line a row.

    Args:
        text: the document.
        title: for what stands above the first heading, usually the file's name.
        markdown: read it as Markdown; else as plain text whose headings are underlined lines, if it
            has any.
        max_words: the largest passage, counted as :func:`word_count` does.

    Raises:
        DocumentError: nothing is left to read, or blocks are nested more than 100 deep.
        UsageError: ``max_words`` is not positive.
    """
    if max_words < 1:
        raise UsageError(
            "a passage must hold at least one word",
            where=f"max_words = {max_words}",
            fix="raise it",
        )
    # One kind of line end; form feeds and separators end a paragraph.
    text = (
        re.sub(r"\r\n?|\u2028", "\n", text.lstrip("\ufeff"))
        .replace("\f", "\n\n")
        .replace("\u2029", "\n\n")
    )
    blocks = markdown_blocks(text, title) if markdown else _plain_blocks(text)
    passages = [
        Passage(trail, packed)
        for trail, paragraphs in _sections(blocks, title)
        for packed in _pack(paragraphs, max_words)
    ]
    if not passages:
        raise DocumentError(
            "the document holds no text, only markup or white space",
            where=title,
            fix="add text to it",
        )
    return passages


def _sections(blocks: Iterator[Heading | str], title: str) -> Iterator[tuple[str, list[str]]]:
    """The trail of headings and the paragraphs of each section."""
    trail: list[Heading] = []
    paragraphs: list[str] = []
    # A last heading of level 0 closes whatever is open.
    for block in (*blocks, Heading(0, "")):
        if isinstance(block, str):
            paragraphs.append(block)
            continue
        bare = not paragraphs and trail and trail[-1].level >= block.level
        # A heading with nothing below it: its words are kept as text, or they would be lost.
        if bare:
            paragraphs.append(trail.pop().text)
        if paragraphs:
            yield TRAIL.join(heading.text for heading in trail) or title, paragraphs
            paragraphs = []
        # What is at this level or below it has ended with the new heading.
        trail = [*(heading for heading in trail if heading.level < block.level), block]


def _pack(paragraphs: list[str], max_words: int) -> Iterator[str]:
    """Paragraphs put together, or cut, to passages of at most ``max_words``."""
    pieces = [
        piece
        for paragraph in paragraphs
        for piece in _cut_paragraph(paragraph, max_words)
        # A row of dashes is no text.
        if WORD.search(piece)
    ]
    packed, size = [], 0
    for piece in pieces:
        words = word_count(piece)
        if packed and size + words > max_words:
            yield "\n".join(packed)
            packed, size = [], 0
        packed.append(piece)
        size += words
    if packed:
        yield "\n".join(packed)


def _cut_paragraph(paragraph: str, max_words: int) -> Iterator[str]:
    """A paragraph whole if it fits, else pieces of about equal size that end with sentences."""
    total = word_count(paragraph)
    if total <= max_words:
        yield paragraph
        return
    even = total / -(-total // max_words)  # so that no passage is left with the last half sentence
    piece, size = "", 0
    for span in _spans(paragraph, max_words):
        words = word_count(span)
        # As soon as it has its share, or would be over: pieces of about equal size.
        if piece and (size >= even or size + words > max_words):
            yield piece.strip()
            piece, size = "", 0
        piece += span
        size += words
    yield piece.strip()


def _spans(paragraph: str, max_words: int) -> Iterator[str]:
    """Sentences; the words of a sentence longer than ``max_words``; the units of a single word
    longer than that.
    """
    for sentence in cut_sentences(paragraph):
        if word_count(sentence) <= max_words:
            yield sentence
            continue
        # Words with the white space around them: joined, they are the sentence again.
        for word in re.findall(r"\s*\S+\s*", sentence):
            yield from [word] if word_count(word) <= max_words else units(word)


def _plain_blocks(text: str) -> Iterator[Heading | str]:
    """Paragraphs between blank lines; a line above a line of ``===`` or the like is a heading."""
    marks: list[str] = []  # the underline of level 1, of level 2, ... in order of appearance
    for block in re.split(r"\n[ \t]*(?:\n[ \t]*)+", text.strip("\n")):
        lines = block.split("\n")
        if (
            _UNDERLINE.fullmatch(lines[0].strip())
            and len(lines) > 2
            and lines[0].strip() == lines[2].strip()
        ):
            lines = lines[1:]  # an overlined heading
        if len(lines) > 1 and _UNDERLINE.fullmatch(lines[1].strip()) and is_heading(lines[0]):
            mark = lines[1].strip()[0]
            marks += [] if mark in marks else [mark]
            yield Heading(marks.index(mark) + 1, lines[0].strip())
            lines = lines[2:]
        if WORD.search(paragraph := _unwrap(lines)):
            yield paragraph


def _unwrap(lines: list[str]) -> str:
    """Lines that an editor wrapped, joined; list items and indented lines stay apart."""
    return soften(
        "".join(f"\n{line}" if _LIST_LINE.match(line) else f"\v{line.strip()}" for line in lines)
    ).strip()
