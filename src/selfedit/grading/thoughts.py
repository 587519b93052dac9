"""What a reasoning model thought aloud before it answered, and what it answered."""

from __future__ import annotations

import re

_THOUGHT_TAG = re.compile(
    r"<(/?)(?:think|thinking|thought|thoughts|reasoning)>|(\[/?THINK\])", re.IGNORECASE
)


def without_thoughts(text: str) -> str:
    """A reply without its thoughts; of one that begins inside a thought, what follows its end.

    Some templates open the thought themselves, so that a reply holds only its end. A thought
    without an end is all thought.
    """
    answers: list[str] = []
    start, inside = 0, False
    for tag in _THOUGHT_TAG.finditer(text):
        closing = bool(tag[1]) or (tag[2] or "").startswith("[/")
        if closing:
            answers = answers if inside else []
            start, inside = tag.end(), False
        elif not inside:
            answers.append(text[start : tag.start()])
            inside = True
    return "".join(answers) + ("" if inside else text[start:])
