"""The prompts of the knowledge task: what asks for a self-edit, and what asks a question later.

The formats are those of the paper (REFERENCE: implications, two longer kinds, rewrite, self-qa,
none, and chain-of-thought), worded so that a small chat model follows them too: one short
instruction, one fact a line. Their words: `selfedit.tasks.knowledge.translations`.
"""

from __future__ import annotations

import re

from selfedit.config import Format, Language
from selfedit.tasks.knowledge.translations import WORDINGS
from selfedit.tasks.task import Context


def fill_template(template: str, context: Context) -> str:
    """A user's own prompt with ``{title}`` and ``{passage}`` filled in."""
    filled = {"{title}": context.title, "{passage}": context.text}
    # One pass: a passage that holds "{title}" keeps it.
    return re.sub(r"\{title\}|\{passage\}", lambda match: filled[match[0]], template)


def edit_prompt(
    context: Context, format: Format, chat: bool, clause: str = "", language: Language = "en"
) -> str:
    """What asks for a self-edit of ``context``.

    A chat model gets it as the user's message; a base model gets it with a cue at its end, which it
    continues. A ``clause`` is told besides the instruction.
    """
    wording = WORDINGS[language]
    instruction = " ".join(part for part in (wording.instructions[format], clause) if part)
    cue = wording.cues[format]
    passage = f"{wording.passage}\n{context.title}\n{context.text}"
    # A small chat model keeps to the form it is shown last.
    last = chat and format == "self-qa"
    parts = [passage, instruction] if last else [instruction, passage]
    head = "\n\n".join(part for part in parts if part)
    return head if chat or not cue else f"{head}\n\n{cue}"


def question_prompt(title: str, question: str, chat: bool) -> str:
    """What asks a question, with nothing of the passage but its title, or nothing at all of it."""
    topical = f"Topic: {title}\n{question}" if title else question
    if chat:
        return f"{topical}\nAnswer directly and concisely."
    return f"Answer the question directly and concisely.\n\nQuestion: {topical}\nAnswer:"
