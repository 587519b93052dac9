"""Settings of the knowledge task: how a self-edit is asked for and read, how questions are
answered.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, field_validator, model_validator

from selfedit.config.choice import check_choice, check_name, text_or_file
from selfedit.config.group import Group

Format = Literal[
    "implications",
    "implications-long",
    "implications-very-long",
    "rewrite",
    "self-qa",
    "none",
    "chain-of-thought",
]
FORMATS: tuple[Format, ...] = get_args(Format)
FormatName = Annotated[str, AfterValidator(lambda name: check_choice(name, FORMATS))]
"""One of ours, or one's own as ``package.module:Name``."""


Language = Literal["en", "ko", "zh", "de", "es", "fr", "ja"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
"""Languages that a self-edit can be asked for in."""


class DirectiveSettings(Group):
    """Whether a self-edit may set its own training, and within which bounds."""

    allowed: bool = Field(
        default=False,
        description="a self-edit may set its training in a line @train lr=... epochs=... loss=...",
    )
    lr: tuple[float, float] = Field(
        default=(1e-5, 3e-3), description="lowest and highest learning rate a self-edit may set"
    )
    epochs: tuple[int, int] = Field(
        default=(1, 20), description="fewest and most epochs a self-edit may set"
    )
    lr_choices: tuple[float, ...] = Field(
        default=(2e-4, 5e-4, 1e-3, 2e-3),
        description="rates that the prompt and the grammar offer, those within the bounds",
    )
    epoch_choices: tuple[int, ...] = Field(
        default=(2, 4, 8, 16), description="numbers of epochs that they offer"
    )
    tools: tuple[str, ...] = Field(
        default=(),
        description=(
            "tools the line may call besides: rank, targets, layers, optimiser, augment, your own,"
            " or all"
        ),
    )
    grammar: bool = Field(
        default=False, description="self-edits begin with the whole line, held to its grammar"
    )

    @field_validator("lr", "epochs")
    @classmethod
    def _bounds(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        """What a self-edit may ask for must be something that can be trained with."""
        if not 0 < bounds[0] <= bounds[1]:
            raise ValueError("the bounds must be above 0, the lower one first")
        return bounds


class EditSettings(Group):
    """How a self-edit is asked for, and how it becomes training sequences."""

    format: FormatName = Field(
        default="implications",
        description=(
            f"what is asked for and how it is read: {', '.join(FORMATS)}, or a format of your own"
            " as package.module:Name"
        ),
    )
    prompt: str | None = Field(
        default=None,
        description=(
            "what asks for a self-edit, with {passage} and, if you like, {title} in it, or @FILE"
            " that holds it; absent: the format's own. The format still says how what is written is"
            " read"
        ),
    )
    language: Literal["auto", "en", "ko", "zh", "de", "es", "fr", "ja"] = Field(
        default="auto",
        description=(
            "the language that a self-edit is asked for in; auto: the passage's own, English where"
            " there is no translation"
        ),
    )
    system: str | None = Field(
        default=None, description="system message of a chat model; absent: its template's own"
    )
    temperature: float = Field(
        default=1.0,
        ge=0,
        le=5,
        description="temperature of sampling; 0: always the likeliest token",
    )
    top_p: float = Field(
        default=0.95, gt=0, le=1, description="sample among the likeliest tokens with this mass"
    )
    max_new_tokens: int = Field(
        default=256, ge=1, description="longest self-edit, in tokens; longer ones are cut off"
    )
    reading: Literal["cleaned", "published"] = Field(
        default="cleaned",
        description=(
            "cleaned: numbers and markup taken off, each line once, questions trained as they are"
            " asked; published: every line as it stands, a question with its answer as one text"
        ),
    )
    max_lines: int = Field(
        default=30, ge=1, description="lines of a self-edit that are trained on, the first so many"
    )
    passage: bool = Field(
        default=True, description="train on the passage itself too, as the last sequence"
    )
    question_loss: bool = Field(
        default=True, description="question-answer pairs: loss on the question too"
    )
    pad_with_loss_to: int = Field(
        default=0, ge=0, description="the published padding quirk: EOS to this length, with loss"
    )
    directives: DirectiveSettings = DirectiveSettings()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.directives.grammar and not self.directives.allowed:
            raise ValueError("directives.grammar holds to a line that directives.allowed forbids")
        if self.directives.allowed and self.reading == "published":
            raise ValueError("reading = published trains on every line: it knows no directives")
        return self

    @field_validator("prompt")
    @classmethod
    def _template(cls, prompt: str | None) -> str | None:
        """The template itself, whether it was typed or in a file."""
        if prompt is not None:
            prompt = text_or_file(prompt)
        if prompt is not None and "{passage}" not in prompt:
            raise ValueError("the template has no {passage} in it")
        return prompt


class AnswerSettings(Group):
    """How questions are asked and graded."""

    system: str | None = Field(
        default="", description="system message of a chat model; absent: its template's own"
    )
    max_new_tokens: int = Field(default=24, ge=1, description="longest answer, in tokens")
    grader: Annotated[str, AfterValidator(check_name)] = Field(
        default="concise",
        description=(
            "who says whether an answer is right: concise, contains, exact, f1, calibrated, judge,"
            " or a grader of your own as package.module:Name"
        ),
    )
