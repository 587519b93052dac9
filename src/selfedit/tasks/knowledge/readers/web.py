"""An HTML page's text as Markdown: its main part, without scripts, menus and what is not shown."""

from __future__ import annotations

import re
from typing import Any

from bs4 import BeautifulSoup, Comment
from markdownify import MarkdownConverter

from selfedit.tasks.knowledge.readers.extracted import CannotRead, Extracted, escaped, lines_as_text

_UNSEEN = (
    *("script", "style", "noscript", "template", "head", "iframe", "object", "embed"),
    *("svg", "canvas", "form", "button", "select", "nav", "aside", "footer"),
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_UNREAD = 0.02  # of a page's letters that may be of no encoding
_MAIN_SHARE = 0.5  # of a page's text that its main part must hold to stand for the page


def markdown(data: bytes) -> Extracted:
    """The text of a page."""
    text, title = page_markdown(data)
    if text.count("\ufffd") > _UNREAD * len(text):
        raise CannotRead("it is no text", "save it as UTF-8")
    if not text.strip():
        raise CannotRead(
            "there is no text in it (it may be made by a script)", "save what a browser shows"
        )
    has_heading = re.search(r"^# ", text, re.MULTILINE) is not None
    head = f"# {escaped(title)}" if title and not has_heading else ""
    return Extracted(lines_as_text([head, text]))


def page_markdown(data: bytes) -> tuple[str, str]:
    """A page's Markdown and its title."""
    soup = BeautifulSoup(data, "lxml")
    title = " ".join(soup.title.get_text().split()) if soup.title else ""
    for element in soup(list(_UNSEEN)):
        element.decompose()
    for element in soup.find_all(_is_hidden):
        element.decompose()
    for comment in soup.find_all(string=lambda string: isinstance(string, Comment)):
        comment.extract()
    return _Plain(heading_style="ATX", bullets="-").convert_soup(_main(soup)), title


def _is_hidden(element: Any) -> bool:
    """What a browser does not show is not what the page says; it may be meant for models alone."""
    return (
        element.has_attr("hidden")
        or element.get("aria-hidden") == "true"
        or _HIDDEN.search(str(element.get("style") or "")) is not None
    )


def _main(soup: Any) -> Any:
    body = soup.body or soup
    page = len(body.get_text())
    for candidate in (*soup.find_all("main")[:1], *soup.find_all("article")[:1]):
        if len(candidate.get_text()) >= _MAIN_SHARE * page:
            return candidate
    return body


class _Plain(MarkdownConverter):
    """Links as their words, and no pictures: neither says anything that can be asked for."""

    def convert_a(self, el: Any, text: str, parent_tags: Any) -> str:
        return text

    def convert_img(self, el: Any, text: str, parent_tags: Any) -> str:
        return str(el.get("alt") or "")
