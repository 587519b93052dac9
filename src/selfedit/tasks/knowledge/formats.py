"""What a format of self-edits is: how one is asked for, and how what was written is read.

A format of one's own is a class with the two methods of `EditFormat`, made with the run's
`EditSettings` and named as ``edit.format = "package.module:Name"``. One that changes only the
prompt or only the parser derives from `LineFormat`.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from selfedit.config import FORMATS, EditSettings, Format
from selfedit.config.choice import load_named
from selfedit.tasks.knowledge.as_written import as_written
from selfedit.tasks.knowledge.directives import directive_clause
from selfedit.tasks.knowledge.edits import ParsedEdit, parse_edit
from selfedit.tasks.knowledge.language import edit_language
from selfedit.tasks.knowledge.prompts import edit_prompt, fill_template
from selfedit.tasks.task import Context


class EditFormat(Protocol):
    """How a self-edit is asked for and read."""

    def prompt(self, context: Context, chat: bool) -> str:
        """What asks for a self-edit: a user's message, or a text that a base model goes on with."""
        ...

    def parse(self, text: str) -> ParsedEdit:
        """What is trained on; never raises, whatever the text."""
        ...


class LineFormat:
    """Our formats: an instruction and the passage; a line is a fact, or half of a question and its
    answer.

    Attributes:
        like: which of ours a format derived from this one asks and reads like.
    """

    like: ClassVar[Format] = "implications"

    def __init__(self, settings: EditSettings) -> None:
        ours: dict[str, Format] = {name: name for name in FORMATS}
        # A format of one's own reads like the one of ours that it names.
        self.form: Format = ours.get(settings.format, self.like)
        self.settings = settings.model_copy(update={"format": self.form})

    def prompt(self, context: Context, chat: bool) -> str:
        """See `EditFormat`; a base model finds a cue at the end."""
        language = edit_language(self.settings, context.text)
        clause = directive_clause(self.settings.directives)
        return edit_prompt(context, self.form, chat, clause, language)

    def parse(self, text: str) -> ParsedEdit:
        """See `EditFormat`."""
        if self.settings.reading == "published":
            return as_written(text, self.settings)
        return parse_edit(text, self.settings)


def format_of(settings: EditSettings) -> EditFormat:
    """The format that ``edit.format`` names.

    Raises:
        UsageError: there is none of that name.
    """
    ours: dict[str, str] = dict.fromkeys(FORMATS, f"{__name__}:{LineFormat.__name__}")
    return load_named(settings.format, ours, "edit.format")(settings)


def edit_request(context: Context, settings: EditSettings, chat: bool) -> str:
    """What asks for a self-edit: the user's template if there is one, else the format's.

    What a self-edit may ask of its training is told in either: before it, where it is not in it.
    """
    if settings.prompt is not None:
        text = fill_template(settings.prompt, context)
    else:
        text = format_of(settings).prompt(context, chat)
    # Told once: a format may have put it where it wants it.
    clause = directive_clause(settings.directives)
    return text if clause in text else f"{clause}\n\n{text}"
