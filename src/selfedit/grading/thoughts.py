"""What a reasoning model thought aloud before it answered, and what it answered."""

from __future__ import annotations

import re

_NAMES = (
    r"(?:\w{1,20}:)?(?:\w{1,20}_|ant)?(?:think(?:ing)?|thoughts?|reason(?:ing)?"
    r"|reflection|scratchpad|analysis|deliberation|monologue|ponder)(?:_\w{1,20})?"
)
_OPENED = (
    rf"<{_NAMES}(?:\s[^<>]*)?(?<!/)>",
    r"\[THINK(?:ING)?\]",
    r"<\|think(?:ing)?\|>",
    "◁think▷",
    r"<\|(?:START_|begin_of_)(?:THINKING|thought)\|>",
    r"<\|channel\|>(?:analysis|commentary)",
)
_CLOSED = (
    rf"<(?:/\s*{_NAMES}|{_NAMES}\s*/)\s*>",
    r"\[/THINK(?:ING)?\]",
    r"<\|/think(?:ing)?\|>",
    "◁/think▷",
    r"<\|(?:END_|end_of_)(?:THINKING|thought)\|>",
    r"<\|channel\|>final<\|message\|>",
)
_THOUGHT_TAG = re.compile(f"(?:{'|'.join(_OPENED)})|({'|'.join(_CLOSED)})", re.IGNORECASE)
"""The marks that DeepSeek's, Qwen's, Mistral's, Kimi's, Cohere's, Sky-T1's and gpt-oss's models put
around a thought, and those that prompts ask others for."""


def without_thoughts(text: str) -> str:
    """A reply without its thoughts; of one that begins inside a thought, what follows its end.

    Some templates open the thought themselves, so that a reply holds only its end. A thought
    without an end is all thought.
    """
    answers: list[str] = []
    start, inside = 0, False
    for tag in _THOUGHT_TAG.finditer(text):
        if tag[1]:
            answers = answers if inside else []
            start, inside = tag.end(), False
        elif not inside:
            answers.append(text[start : tag.start()])
            inside = True
    return "".join(answers) + ("" if inside else text[start:])
