"""A Markdown document as headings and paragraphs; every word of it that is no markup stays."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, reference, table
from markdown_it.rules_block.table import escapedSplit, getLine
from markdown_it.token import Token

from selfedit.errors import DocumentError
from selfedit.storage.bounded import Unreadable, toml_table
from selfedit.tasks.knowledge.units import WORD, is_heading, soften

_MAX_NESTING = 100  # of Markdown blocks; beyond it the parser drops text, so we refuse
_ELEMENT_NAMES = """
a abbr acronym address applet area article aside audio b base bdi bdo big blink blockquote body br
button canvas caption center cite code col colgroup data datalist dd del details dfn dialog dir
div dl dt em embed fieldset figcaption figure font footer form frame frameset h1 h2 h3 h4 h5 h6
head header hgroup hr html i iframe img input ins kbd label legend li link main map mark marquee
menu meta meter nav nobr noframes noscript object ol optgroup option output p param picture pre
progress q rp rt ruby s samp script search section select slot small source span strike strong
style sub summary sup svg table tbody td template textarea tfoot th thead time title tr track tt u
ul var video wbr
"""
_FLAG_NAMES = """
async autofocus autoplay checked compact controls default defer disabled hidden loop multiple
muted nowrap open readonly required reversed selected
"""
_WITHOUT_END = """
area base body br col colgroup dd dt embed head hr html img input li link meta option p param rp rt
source tbody td tfoot th thead tr track wbr
"""
_ELEMENTS, _FLAGS = frozenset(_ELEMENT_NAMES.split()), frozenset(_FLAG_NAMES.split())
_PAIRED = _ELEMENTS - frozenset(_WITHOUT_END.split())
"""HTML's elements and attributes without a value: ``<name>``, ``Map<String>``, ``x<b and y>z`` are
text.
"""
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)((?:[\s/][^<>]*)?)>")
_ATTRIBUTE = re.compile(r"""([^\s=/"'<>]+)(\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))?""")
_HIDING = re.compile(r"<(!--|(?:script|style)\b)", re.IGNORECASE)
_DEFINITION = re.compile(r"\[((?:[^\[\]\\]|\\.)*)\]:\s*(<[^<>\n]*>|\S*)")
_TARGET = re.compile(
    r"<?(?:[a-z][a-z\d+.-]+:\S|\.{0,2}/\S|\?\w+=|#[\w-]*[a-z]|[^<>]*\w\.[a-z]{2})", re.I
)
"""An address, a path, a file: ``Nine.``, ``3.50``, ``12/5/1412``, ``#1``, ``why?`` are words."""
_FIELD = re.compile(r"""(?:(?:[a-z]\w*:)?[\w.$@/-]+|"[^"]+"|'[^']+')[ \t]*:(?:[ \t]|$)""")
_SPACED_FIELD = re.compile(r"[\w.-]+(?: [\w.()-]+){1,3}[ \t]*:(?:[ \t].*[^.!?…。]|)$")
"""A key of several words; a sentence with a colon in it has one too, and ends like a sentence."""
_FURTHER = re.compile(r"[ \t]|#|-(?:[ \t]|$)|[\]}]|$")


@dataclass(frozen=True)
class Heading:
    """A heading met on the way through a document; level 1 is the highest."""

    level: int
    text: str


def _is_definition(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A link's definition, unless its target is a word: a footnote, or a note like one."""
    definition = _DEFINITION.match(state.src, state.bMarks[start] + state.tShift[start])
    # [^1]: and [note]: text are words of the document; a link's target has a sign of one.
    if definition and (definition[1].startswith("^") or not _TARGET.match(definition[2])):
        return False
    return reference(state, start, end, silent)


def _whole_rows(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A table; what a row has more than the head, which Markdown drops, is put to its last cell."""
    before = len(state.tokens)
    if not table(state, start, end, silent):
        return False
    tokens = state.tokens[before:]
    width = sum(token.type == "th_open" for token in tokens)
    for at, token in enumerate(tokens):
        cell = tokens[at - 2]
        if token.type == "tr_close" and cell.map:
            line = getLine(state, cell.map[0]).strip()
            cells = escapedSplit(line)[line.startswith("|") :]
            further = [each.strip() for each in cells[width:]]
            cell.content = " | ".join([cell.content, *further]).removesuffix(" | ")
    return True


_MARKDOWN = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING}).enable(
    ["table", "strikethrough"]
)
_MARKDOWN.block.ruler.at("reference", _is_definition)
_MARKDOWN.block.ruler.at("table", _whole_rows, {"alt": ["paragraph", "reference"]})


def markdown_blocks(text: str, title: str) -> Iterator[Heading | str]:
    """A Markdown document's headings, paragraphs, list items, tables and code, without markup."""
    level, bullet = 0, ""
    rows: list[list[str]] = []
    for token in _parse(text, title):
        match token.type:
            case "heading_open":
                level, bullet = int(token.tag[1:]), ""
            case "heading_close":
                level = 0
            case "list_item_open":
                bullet = f"{token.info}{token.markup} " if token.info else "- "
            case "tr_open":
                rows.append([])
            case "table_close":
                yield "\n".join(" | ".join(row) for row in rows)
                rows = []
            case "inline" if rows:
                rows[-1].append(_inline(token))
            case "inline" | "fence" | "code_block" | "html_block":
                block = _inline(token) if token.type == "inline" else _raw(token)
                if level and is_heading(block):
                    yield Heading(level, block.replace("\n", " "))
                elif WORD.search(block):
                    yield bullet + block
                    bullet = ""


def _parse(text: str, title: str) -> list[Token]:
    """The parser's tokens of a document without its front matter."""
    tokens = _MARKDOWN.parse(_without_front_matter(text))
    # The parser would drop what is deeper, silently.
    if any(token.level >= _MAX_NESTING - 1 for token in tokens):
        fix = "flatten its lists and quotations, or give it as plain text (.txt)"
        raise DocumentError(
            f"the document nests lists or quotations {_MAX_NESTING} deep", where=title, fix=fix
        )
    # Run with <time>: an element that never ends in the whole document is a word.
    words = _PAIRED - set(re.findall(r"</([a-z][a-z\d]*)", text.lower()))
    for child in (child for token in tokens for child in token.children or []):
        if child.type == "html_inline" and child.content[1:-1].lower() in words:
            child.type = "text"
    return tokens


def _without_front_matter(text: str) -> str:
    """The text behind fields for a site's programs; what only begins like them, a rule above a
    paragraph, stays.
    """
    lines = text.lstrip().split("\n")
    mark = lines[0].rstrip()
    if mark == "+++" and mark in (rest := [line.rstrip() for line in lines[1:]]):
        end = rest.index(mark)
        try:
            return "\n".join(lines[end + 2 :]) if toml_table("\n".join(rest[:end])) else text
        except Unreadable:
            return text
    fields = 0.0
    for number, line in enumerate(lines[1:] if mark == "---" else (), start=1):
        if line.rstrip() in ("---", "..."):
            # Two rules with nothing between them are rules.
            return "\n".join(lines[number + 1 :]) if fields >= 1 else text
        if _FIELD.match(line):
            fields += 1
        elif _SPACED_FIELD.match(line.rstrip()):
            fields += 0.5
        elif not _FURTHER.match(line):
            return text
    return text


def _inline(token: Token) -> str:
    """The text of a paragraph, heading or cell: links and images give their text, HTML tags and
    comments nothing.
    """
    parts = []
    for child in token.children or []:
        match child.type:
            case "softbreak":
                parts.append("\v")
            case "hardbreak":
                parts.append("\n")
            case "html_inline":
                parts.append(
                    _without_tags(
                        child.content, "\n" if child.content.lower().startswith("<br") else ""
                    )
                )
            case "image":
                parts.append(_inline(child))
            case _:
                parts.append(child.content)
    return soften("".join(parts)).strip()


def _raw(token: Token) -> str:
    """Code as it is; the text of an HTML block without comments, scripts and tags."""
    if token.type != "html_block":
        return token.content.strip("\n")
    # Entities last: &lt;b&gt; is text, not a tag.
    text = html.unescape(_without_tags(_without_hidden(token.content), " "))
    return "\n".join(line for line in (" ".join(line.split()) for line in text.split("\n")) if line)


def _without_tags(text: str, instead: str) -> str:
    """HTML without the tags of its elements; other words in angle brackets stay."""
    if text.startswith(("<!--", "<?", "<![CDATA[")) and text.endswith(">"):
        return ""
    return _TAG.sub(lambda tag: instead if _is_tag(tag) else tag[0], text)


def _is_tag(tag: re.Match[str]) -> bool:
    # Generics and comparisons in text look like tags: only HTML's own names are taken out.
    if tag[2].lower() not in _ELEMENTS:
        return False
    attributes = _ATTRIBUTE.findall(tag[3].strip().removesuffix("/"))
    return all(value or name.lower() in _FLAGS for name, value in attributes)


def _without_hidden(text: str) -> str:
    """HTML without comments, scripts and styles; one that never ends hides nothing."""
    parts: list[str] = []
    lower, start, endless = text.lower(), 0, set[str]()
    for hiding in _HIDING.finditer(text):
        closing = "-->" if hiding[1] == "!--" else f"</{hiding[1].lower()}"
        # Within what is hidden already, or of a kind that never ends in this document.
        if hiding.start() < start or closing in endless:
            continue
        end = lower.find(closing, hiding.end())
        end = lower.find(">", end) if end >= 0 else end
        if end < 0:
            endless.add(closing)
            continue
        parts.append(text[start : hiding.start()])
        start = end + 1
    return "".join([*parts, text[start:]])
