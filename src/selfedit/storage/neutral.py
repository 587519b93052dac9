"""The way out for text that a model, a document or a file's author chose: shown as text wherever it
is written.

A name of a task, a method, a document or a folder can hold escape sequences that set a terminal's
title, the markup of the library that prints it, a link, an image, a script, a formula of a
spreadsheet, or a path. Each function here makes one place's harmless form of it; `file_name` makes
the one form that a file may be called.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from html import escape
from itertools import groupby
from typing import Literal

_MANY_MARKS = re.compile(r"[^\x00-\x7f\w\s]{32,}")
_UNSHOWN = "\ufffd"
_MARKUP = re.compile(r"[\\`*~]|(?<![^\W_])_|_(?![^\W_])|\]|<")
_ENTITY = re.compile(r"&(?=#?\w{1,32};)")
_LINE_MARKUP = re.compile(r"^(?:(?=#{1,6}(?:\s|$)|[>+=-])|(\d{1,9})(?=[.)]))")
_FORMULA = ("=", "+", "-", "@")


def as_unicode(text: str) -> str:
    """Text as UTF-8 can hold it: two halves of a surrogate pair are their character, one half is
    U+FFFD. JSON may hold halves, and a tokenizer takes none.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def in_form(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
    """A text in a normal form of Unicode, in time that grows with its length.

    Python sorts the marks after a letter by insertion, in the square of their number. Marks of
    different classes may be exchanged without a change of meaning (the Unicode Standard, section
    3.11), so long rows of them are sorted first.
    """
    return unicodedata.normalize(form, _MANY_MARKS.sub(_sorted_marks, text))


def _sorted_marks(marks: re.Match[str]) -> str:
    """The marks of a row by class; those of class 0 stay where they are, between sorted ones."""
    apart = "".join(unicodedata.normalize("NFD", mark) for mark in marks[0])
    groups = groupby(apart, key=lambda mark: unicodedata.combining(mark) != 0)
    return "".join(
        "".join(sorted(group, key=unicodedata.combining) if combining else group)
        for combining, group in groups
    )


def in_lines(text: object) -> str:
    """Text for a terminal or a log with its line breaks, without what could steer a terminal."""
    rows = str(text).splitlines() or [""]
    return "\n".join(_shown(row.replace("\t", "    "), _UNSHOWN) for row in rows)


def in_pieces(piece: str) -> str:
    """A piece of a text that comes piece by piece, for a terminal: as `in_lines`, and a line break
    at its end stays.
    """
    return "\n".join(
        _shown(row.replace("\t", "    "), _UNSHOWN) for row in re.split(r"\r\n|[\r\n]", piece)
    )


def in_line(text: object, width: int | None = None) -> str:
    """Text on one line, cut to `width` characters if one is said."""
    line = (
        " ".join(_shown(str(text), " ").split())
        if width is not None
        else _shown(str(text), _UNSHOWN)
    )
    return line if width is None or len(line) <= width else line[: width - 1] + "…"


def in_markdown(text: object, *, starts_line: bool = False) -> str:
    """Text that stays text: no link, image, emphasis, code, tag, heading or new cell of a table.

    Args:
        text: the text; what cannot be shown becomes a space.
        starts_line: it stands in a line of its own, else in a table's cell or inside a line.
    """
    plain = _ENTITY.sub("&amp;", _shown(str(text), " "))
    plain = _MARKUP.sub(lambda mark: "&lt;" if mark[0] == "<" else f"\\{mark[0]}", plain)
    return (
        _LINE_MARKUP.sub(lambda mark: f"{mark[1] or ''}\\", plain.lstrip())
        if starts_line
        else plain.replace("|", r"\|")
    )


def in_html(text: object) -> str:
    """Text of a page or of an attribute in quotes; line breaks stay."""
    return escape(
        "\n".join(_shown(row.replace("\t", "    "), _UNSHOWN) for row in str(text).split("\n"))
    )


def in_csv(text: str) -> str:
    """A cell that a spreadsheet does not take for a formula."""
    plain = in_line(text)
    return f"'{plain}" if plain.startswith(_FORMULA) else plain


def in_picture(text: object) -> str:
    """Text that matplotlib draws as it stands: a short line, no formula, no name it leaves out."""
    plain = in_line(text, 60).replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain


def slug(text: str, fallback: str = "unnamed") -> str:
    """At most 40 small ASCII letters, digits and dashes of a name: "Mount Kérrigal" to
    "mount-kerrigal".
    """
    plain = in_form("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:40].strip("-") or fallback


def file_name(name: str, *, before: str = "", after: str = "") -> str:
    """The name of a file about something called `name`: its slug and a hash, so that two names
    never share a file.

    Args:
        name: any text at all.
        before: what the file's name starts with, ``"task-"``.
        after: what it ends with, ``".png"``.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{before}{slug(name)}-{digest}{after}"


def _shown(line: str, instead: str) -> str:
    return "".join(letter if letter.isprintable() else instead for letter in line)
