"""More to train on, made from a self-edit by rule: the tools behind ``augment=…``.

A tool gets the lines of a self-edit and its passage and gives further lines, or questions with
answers. No model writes here; what a model should write belongs into the self-edit itself.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Sequence

from selfedit.errors import UsageError
from selfedit.tasks.knowledge.units import cut_sentences
from selfedit.tasks.task import Context

Material = str | tuple[str, str]
"""A line, or a question with its answer."""
TextTool = Callable[[Sequence[str], Context, random.Random], Sequence[Material]]

NONE = "none"
TEXT_TOOLS: dict[str, TextTool] = {}
"""Every tool by the name that ``augment=`` calls it by."""


def text_tool(name: str) -> Callable[[TextTool], TextTool]:
    """A decorator that adds a tool; self-edits may call it as ``augment=NAME`` from then on.

    Raises:
        UsageError: the name is taken, or is no small word.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,29}", name) or name in (NONE, *TEXT_TOOLS):
        fix = "use up to 30 small letters, digits and _, a name that no other tool has"
        raise UsageError(f"{name!r} cannot name a tool", where="text_tool", fix=fix)

    def register(tool: TextTool) -> TextTool:
        TEXT_TOOLS[name] = tool
        return tool

    return register


def augmented(name: str, lines: Sequence[str], context: Context) -> list[Material]:
    """What a tool makes of a self-edit's lines, the same every time."""
    if name == NONE:
        return []
    # Of the context alone: a resumed run makes the same lines.
    rng = random.Random(zlib.crc32(context.id.encode()))
    return list(TEXT_TOOLS[name](lines, context, rng))


@text_tool("rewrite")
def _rewrite(lines: Sequence[str], context: Context, rng: random.Random) -> list[Material]:
    """Each line in another frame."""
    frames = ("About {title}: {line}", "{line} This is said of {title}.", "It is true that {lower}")
    return [
        rng.choice(frames).format(title=context.title, line=line, lower=line[:1].lower() + line[1:])
        for line in lines
    ]


@text_tool("qa")
def _cloze(lines: Sequence[str], context: Context, rng: random.Random) -> list[Material]:
    """Each line with its last words as the answer to what is left of it."""
    pairs: list[Material] = []
    for line in lines:
        words = line.rstrip(".!").split()
        # About a sixth of the words, at least one.
        cut = max(1, len(words) - 1 - len(words) // 6)
        if len(words) > 2:
            pairs.append((f"Complete: {' '.join(words[:cut])} ...", " ".join(words[cut:])))
    return pairs


@text_tool("shuffle")
def _shuffle(lines: Sequence[str], context: Context, rng: random.Random) -> list[Material]:
    """The passage with its sentences in another order."""
    pieces = [piece.strip() for piece in cut_sentences(context.text) if piece.strip()]
    if len(pieces) < 2:
        return []
    order = pieces[:]
    # Unless all sentences are equal, some other order exists.
    while order == pieces and len(set(pieces)) > 1:
        rng.shuffle(order)
    return [" ".join(order)]
