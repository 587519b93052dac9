"""Reading a self-edit: its lines, its question–answer pairs, its directives.

A model wrote it, so nothing about it can be relied on: it may be empty, endless, one line again and
again, HTML, or full of control characters. What cannot be trained on is left out, and why is said.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from selfedit.config import DirectiveSettings, EditSettings
from selfedit.grading.thoughts import without_thoughts
from selfedit.tasks.knowledge.text_tools import NONE, TEXT_TOOLS
from selfedit.tasks.knowledge.translations import ANSWER_MARKS, FACTS_MARKS, QUESTION_MARKS
from selfedit.tasks.update_tools import ALL, UPDATE_TOOLS

MAX_LINE = 1000
"""Characters of a line that are kept."""

_ITEM_NUMBER = re.compile(r"^(?:[-*•]\s+|\(?\d{1,3}(?:[.):]\)?\s+|[.)](?=[^\W\d])|[、．]\s*))")
_QUESTION_CUE = re.compile(
    rf"^(?:{'|'.join(QUESTION_MARKS)})\s*\d{{0,3}}\s*[:：.)]\s*", re.IGNORECASE
)
_ANSWER = re.compile(
    rf"(?:^|(?<=[\s?？]))(?:{'|'.join(ANSWER_MARKS)})\s*\d{{0,3}}\s*[:：]\s*", re.IGNORECASE
)
_DIRECTIVES = ("lr", "epochs", "loss")
_FACTS = re.compile(rf"^\W*(?:{'|'.join(FACTS_MARKS)})\W*$", re.IGNORECASE)
_DIRECTIVE = re.compile(r"^@train(?:\s+(.*))?$")
_MARKUP_TAG = re.compile(r"<[A-Za-z/!?|][^<>]{0,200}>")
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]"
)

Loss = Literal["all", "answers"]
T = TypeVar("T")


@dataclass(frozen=True)
class Directives:
    """Training settings a self-edit asks for; None where it asks for nothing. ``tools`` are the
    tools it calls, with what.
    """

    lr: float | None = None
    epochs: int | None = None
    loss: Loss | None = None
    tools: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ParsedEdit:
    """A self-edit as training material.

    Attributes:
        lines: statements, in order, each once.
        pairs: question and answer, in order, each once.
        bare: the same, asked without the passage's title.
        directives: what it asks of its training.
        dropped: reason → how many lines were left out for it.
    """

    lines: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    directives: Directives = Directives()
    dropped: dict[str, int] = field(default_factory=dict)
    bare: tuple[tuple[str, str], ...] = ()

    @property
    def empty(self) -> bool:
        """Nothing of it can be trained on."""
        return not self.lines and not self.pairs and not self.bare


def parse_edit(text: str, settings: EditSettings) -> ParsedEdit:
    """Read a self-edit; never raises, whatever the text."""
    dropped: dict[str, int] = {}
    # A model's thinking is not what it wrote down to learn.
    spoken = without_thoughts(text)
    if len(spoken) < len(text):
        dropped["thoughts"] = 1
    rows = [_clean(row) for row in spoken.splitlines()]
    if settings.format == "chain-of-thought":
        rows = after_thoughts(rows)
    requested: dict[str, Any] = {}
    rows = [
        row
        # Directives are taken out while rows are sorted: what remains is text.
        for row in rows
        if row and not _directive(_strip_number(row), settings.directives, requested, dropped)
    ]
    rows = without_filler(rows)
    lines, pairs = _pairs([_strip_number(row) for row in rows], dropped)
    kept_pairs = _once(pairs, dropped)
    kept_lines = _once([line for line in lines if _is_text(line, dropped)], dropped)
    room = settings.max_lines - len(kept_pairs)
    # Pairs come first: lines fill what they leave.
    over = len(kept_lines) - max(0, room) + max(0, -room)
    if over > 0:
        dropped["over max_lines"] = over
    pairs_out, lines_out = kept_pairs[: settings.max_lines], kept_lines[: max(0, room)]
    return ParsedEdit(tuple(lines_out), tuple(pairs_out), _directives(requested), dropped)


def _directives(values: dict[str, Any]) -> Directives:
    calls = tuple((name, values.pop(name)) for name in list(values) if name not in _DIRECTIVES)
    return Directives(**values, tools=calls)


def _tool_choices(bounds: DirectiveSettings) -> dict[str, tuple[str, ...]]:
    """What each tool that the settings name may be called with."""
    every = ALL in bounds.tools
    tools = {t.name: t.choices for t in UPDATE_TOOLS.values() if every or t.name in bounds.tools}
    return tools | ({"augment": (NONE, *TEXT_TOOLS)} if every or "augment" in bounds.tools else {})


def _clean(row: str) -> str:
    """One line, NFC, without escapes, controls and tags, white space folded, cut at `MAX_LINE`."""
    # Cut first: NFC is quadratic in a run of combining marks.
    row = _ESCAPE.sub("", row[: 8 * MAX_LINE])
    # Escape sequences first: their letters would stay once the control character is gone.
    row = "".join(map(_seen, row))
    return " ".join(unicodedata.normalize("NFC", _MARKUP_TAG.sub(" ", row)).split())[:MAX_LINE]


def _seen(char: str) -> str:
    """The character, nothing for one without a width (a soft hyphen), a space for a control."""
    category = unicodedata.category(char)
    # The joiners of Indic and Persian scripts change what a word means.
    if category[0] != "C" or char in "\u200c\u200d":
        return char
    return "" if category == "Cf" else " "


def after_thoughts(rows: list[str]) -> list[str]:
    """The rows below the one that ends a chain of thought; all of them without one."""
    for index, row in enumerate(rows):
        if _FACTS.match(row):
            return rows[index + 1 :]
    return rows


def without_filler(rows: list[str]) -> list[str]:
    """A first line such as "Sure, here is a list" is dropped: numbering starts on the second."""
    if (
        len(rows) > 1
        # Only then is the first line a heading: a list without numbers has no such line.
        and re.match(r"^\(?1[.):、．](?!\d)", rows[1])
        and not re.match(r"^\(?\d", rows[0])
    ):
        return rows[1:]
    return rows


def _strip_number(row: str) -> str:
    return _ITEM_NUMBER.sub("", row)


def _pairs(rows: list[str], dropped: dict[str, int]) -> tuple[list[str], list[tuple[str, str]]]:
    """Split rows into statements and question–answer pairs; an answer may stand on its question's
    line or below it.
    """
    lines: list[str] = []
    pairs: list[tuple[str, str]] = []
    open_question: str | None = None
    for row in rows:
        question_mark = _QUESTION_CUE.match(row)
        body = row[question_mark.end() :] if question_mark else row
        answer = _ANSWER.search(body)
        before = body[: answer.start()].strip() if answer else ""
        # Else "vitamin A: ..." is a statement.
        if answer and (question_mark or not before or before.endswith(("?", "？"))):
            if before and open_question is not None:
                _count_dropped(dropped, "question without an answer")
            question = before or open_question
            inline = _strip_number(body[answer.end() :].strip())
            if inline or question is None:
                _add_pair(question, inline, pairs, dropped)
                question = None
            open_question = question  # a bare "Answer:" leaves the answer to the next line
        elif question_mark or body.endswith(("?", "？")):
            if open_question is not None:
                _count_dropped(dropped, "question without an answer")
            open_question = body
        elif open_question is not None:
            _add_pair(open_question, body, pairs, dropped)
            open_question = None
        else:
            lines.append(row)
    if open_question is not None:
        _count_dropped(dropped, "question without an answer")
    return lines, pairs


def _add_pair(
    question: str | None, answer: str, pairs: list[tuple[str, str]], dropped: dict[str, int]
) -> None:
    if not question or not any(c.isalnum() for c in question):
        _count_dropped(dropped, "answer without a question")
    elif not any(c.isalnum() for c in answer):
        _count_dropped(dropped, "question without an answer")
    else:
        pairs.append((question, answer))


def _is_text(line: str, dropped: dict[str, int]) -> bool:
    # Two letters or digits, one of them a letter: "1." and "--" state nothing.
    if sum(c.isalnum() for c in line) >= 2 and any(c.isalpha() for c in line):
        return True
    _count_dropped(dropped, "no words")
    return False


def _once(items: list[T], dropped: dict[str, int]) -> list[T]:
    kept = list(dict.fromkeys(items))
    if len(kept) < len(items):
        dropped["repeated"] = dropped.get("repeated", 0) + len(items) - len(kept)
    return kept


def _count_dropped(dropped: dict[str, int], reason: str) -> None:
    dropped[reason] = dropped.get(reason, 0) + 1


def _directive(
    row: str, bounds: DirectiveSettings, requested: dict[str, Any], dropped: dict[str, int]
) -> bool:
    """Whether the row is a directive, ``@train lr=5e-4 epochs=6 loss=answers``; takes over what it
    asks, if valid.
    """
    match = _DIRECTIVE.match(row)
    if match is None:
        return False
    if not bounds.allowed:
        _count_dropped(dropped, "directive, not allowed")
        return True
    settings = [part.partition("=") for part in (match[1] or "").split()]
    checked: dict[str, object] = {}
    for name, _, text in settings or [("", "", "")]:
        # The line counts as a whole: with one bad value none of it is taken.
        value = _directive_value(name, text, bounds)
        if value is None or name in checked or name in requested:
            known = name in (*_DIRECTIVES, *_tool_choices(bounds))
            kind = f"{name!r} {'unusable' if value is None else 'repeated'}"
            kind = kind if known else "unknown"
            _count_dropped(dropped, f"directive {kind}")
            return True
        checked[name] = value
    requested.update(checked)
    return True


def _directive_value(name: str, text: str, bounds: DirectiveSettings) -> object:
    """A directive's value, or None if it is unknown, not a plain number, or out of bounds."""
    if name == "loss":
        return text if text in ("all", "answers") else None
    if name not in _DIRECTIVES:
        return text if text in _tool_choices(bounds).get(name, ()) else None
    if name == "epochs" and re.fullmatch(r"[0-9]{1,4}", text):
        return int(text) if bounds.epochs[0] <= int(text) <= bounds.epochs[1] else None
    if name == "lr" and re.fullmatch(
        # No more digits than a rate needs: float() of a megabyte takes long.
        r"(?:[0-9]{1,3}(?:\.[0-9]{0,8})?|\.[0-9]{1,8})(?:e-?[0-9]{1,2})?",
        text,
    ):
        return float(text) if bounds.lr[0] <= float(text) <= bounds.lr[1] else None
    return None
