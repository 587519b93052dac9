"""Text from outside is shown as text: no place's own markup survives, and no two names share a
file.
"""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from selfedit.storage.neutral import (
    as_unicode,
    file_name,
    in_csv,
    in_html,
    in_line,
    in_lines,
    in_markdown,
    in_picture,
)

anything = st.text() | st.text(alphabet="[]()!<>`*_~|\\&#:-+=>. \n\t\x1b\u202eajx1;/\"'$")


def inline_kinds(tokens: list[Token]) -> set[str]:
    return {child.type for token in tokens for child in token.children or []}


@given(anything)
def test_markdown_shows_the_text_and_nothing_else(text: str) -> None:
    parser = MarkdownIt("gfm-like", {"linkify": False})
    shown = in_markdown(text, starts_line=True)
    tokens = parser.parse(f"- {shown}\n\n[x]: http://elsewhere\n")
    assert inline_kinds(tokens) <= {"text", "text_special"}
    assert {token.type for token in tokens} <= {
        "bullet_list_open",
        "list_item_open",
        "paragraph_open",
        "inline",
        "paragraph_close",
        "list_item_close",
        "bullet_list_close",
    }
    visible = "".join(child.content for token in tokens for child in token.children or [])
    assert visible.split() == "".join(c if c.isprintable() else " " for c in text).split()


@given(anything, anything)
def test_cells_of_a_markdown_table_stay_cells(first: str, second: str) -> None:
    table = f"| {in_markdown(first)} | {in_markdown(second)} |\n|---|---|\n"
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(table)
    assert sum(token.type == "th_open" for token in tokens) == 2
    assert inline_kinds(tokens) <= {"text", "text_special"}


class Seen(HTMLParser):
    """The tags and texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@given(anything)
def test_html_shows_the_text_and_nothing_else(text: str) -> None:
    seen = Seen()
    seen.feed(f"<p>{in_html(text)}</p>")
    seen.close()
    assert seen.tags == ["p"]
    assert all(c.isprintable() or c == "\n" for c in "".join(seen.texts))


@given(anything)
def test_nothing_steers_a_terminal(text: str) -> None:
    assert in_line(text).isprintable() and len(in_line(text, 20)) <= 20
    assert all(row.isprintable() for row in in_lines(text).split("\n"))


def test_what_is_harmless_stays_as_it_is() -> None:
    for text in ("own: passage + own self-edits [rewrite]", "a_b", "12.5 %", "Größe › 橋", "x < y"):
        assert in_line(text) == text and in_lines(f"{text}\n{text}") == f"{text}\n{text}"
        assert in_markdown(text).replace("&lt;", "<").replace(r"\]", "]") == text
    assert in_picture("a$b$") == r"a\$b\$" and in_picture("_x") == " _x"


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert not in_csv(cell).startswith(("=", "+", "-", "@", "\t")) and in_csv("own") == "own"


@given(st.text(), st.text())
def test_every_name_has_a_file_of_its_own(one: str, other: str) -> None:
    name = file_name(one, before="task-", after=".png")
    assert re.fullmatch(r"task-[a-z0-9-]{1,60}\.png", name)
    assert (name == file_name(other, before="task-", after=".png")) == (one == other)


def test_a_surrogate_and_a_long_name_have_files() -> None:
    assert len(file_name("x" * 10_000)) < 60 and len(file_name("\ud800/../" * 99)) < 60


@pytest.mark.parametrize("text", ["[x]", "[X]", "see [x] and [ x ]", "[x][]", "![x]"])
def test_a_label_that_the_page_defines_is_text(text: str) -> None:
    shown = in_markdown(text, starts_line=True)
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(f"{shown}\n\n[x]: http://elsewhere\n")
    assert inline_kinds(tokens) <= {"text", "text_special"}


def test_a_number_that_would_begin_a_list_is_text() -> None:
    assert in_markdown("0) first", starts_line=True) == r"0\) first"
    assert in_markdown("12. first", starts_line=True) == r"12\. first"


def test_half_a_surrogate_pair_becomes_text_and_two_halves_their_character():
    assert as_unicode("a\ud800b\udc00") == "a\ufffdb\ufffd"
    assert as_unicode("\ud83d\ude00 é") == "\U0001f600 é"
