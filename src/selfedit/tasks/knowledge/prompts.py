"""The prompts of the knowledge task: what asks for a self-edit, and what asks a question later.

The formats are those of the paper (REFERENCE: implications, two longer kinds, rewrite, self-qa,
none, and chain-of-thought), worded so that a small chat model follows them too: one short
instruction, one fact a line.
"""

from __future__ import annotations

import re

from selfedit.config import Format
from selfedit.tasks.task import Context

_INSTRUCTIONS: dict[Format, str] = {
    "implications": "Read the passage and write a list of short facts, one fact per line.",
    "implications-long": (
        "Read the passage and write a long list of short facts, one fact per line. Say each thing"
        " in more than one way."
    ),
    "implications-very-long": (
        "Read the passage and write a very long list of short facts, one fact per line. "
        "Cover every detail, say each thing in several ways, and say how the facts belong together."
    ),
    "rewrite": (
        "Rewrite the passage several times, each time in other words. Write each version on one"
        " line."
    ),
    "self-qa": (
        "Write a quiz about this passage: ten short questions, each with a short answer. Use this"
        " form:\nQuestion: ...\nAnswer: ..."
    ),
    "none": "",
    "chain-of-thought": (
        "Read the passage. First think about what is important in it and how it belongs together. "
        'Then write a line that says only "Facts:", and below it the facts, one per line.'
    ),
}

CUES: dict[Format, str] = {
    "implications": "Implications:",
    "implications-long": "Implications:",
    "implications-very-long": "Implications:",
    "rewrite": "Rewritten:",
    "self-qa": "Question 1: ",
    "none": "",
    "chain-of-thought": "Thoughts:",
}
"""What a base model goes on from; the published ones (self-qa's ends with a space)."""


def fill_template(template: str, context: Context) -> str:
    """A user's own prompt with ``{title}`` and ``{passage}`` filled in."""
    filled = {"{title}": context.title, "{passage}": context.text}
    # One pass: a passage that holds "{title}" keeps it.
    return re.sub(r"\{title\}|\{passage\}", lambda match: filled[match[0]], template)


def edit_prompt(context: Context, format: Format, chat: bool, clause: str = "") -> str:
    """What asks for a self-edit of ``context``.

    A chat model gets it as the user's message; a base model gets it with a cue at its end, which it
    continues. A ``clause`` is told besides the instruction.
    """
    instruction, cue = " ".join(p for p in (_INSTRUCTIONS[format], clause) if p), CUES[format]
    passage = f"Passage:\n{context.title}\n{context.text}"
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
