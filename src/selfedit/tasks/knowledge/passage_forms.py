"""Passages as data files write them: what a record may hold, and what is wrong with one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from selfedit.errors import FormatError

LISTED_PLACES = 5  # bad records listed in one error
RECORD_FORM = (
    'a record looks like {"title": "...", "context": "...", "questions": [{"question": "...",'
    ' "answers": ["..."]}]}'
)
_OF_A_QUESTION = ("id", "question", "answers", "answer", "is_impossible")
_LIKE_DATA = re.compile(r"question|answer|(^|_)qas?($|_)|paragraph", re.IGNORECASE)
_PROBLEMS = {
    "missing": "is missing",
    "string_type": "must be text",
    "string_too_short": "is empty",
    "string_unicode": "holds half a character (a lone \\ud8.. escape)",
    "list_type": "must be a list",
    "model_type": "must be an object",
}
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_Id = Annotated[_Text, Field(coerce_numbers_to_str=True)]


class _QuestionForm(BaseModel):
    """A question as data files write it."""

    id: _Id | None = None
    question: _Text
    answers: tuple[_Text, ...] = Field((), validation_alias=AliasChoices("answers", "answer"))
    is_impossible: bool = False

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, record: Any) -> Any:
        """An empty table of answers, as the `datasets` library has SQuAD 2, is no answer at all."""
        answers = record.get("answers", ...) if isinstance(record, dict) else ...
        if isinstance(answers, dict) and answers.get("text") == []:
            return record | {"answers": [], "is_impossible": True}
        answer = record.get("answer") if answers in ([], None) else answers
        return record if answers is ... else record | {"answers": [] if answer is None else answer}

    @field_validator("answers", mode="before")
    @classmethod
    def _one_form(cls, value: Any) -> list[Any]:
        """Text or a number, a list of them, a list of ``{"text": ...}``, or ``{"text": [...]}``."""
        # {"text": [...], "answer_start": [...]}, as the `datasets` library has it.
        if isinstance(value, dict):
            value = value.get("text")
        listed = value if isinstance(value, list) else [value]
        # Numbers are answers as well: years are often written so.
        plain = [each.get("text") if isinstance(each, dict) else each for each in listed]
        return [str(each) if type(each) in (int, float) else each for each in plain]

    @model_validator(mode="after")
    def _answered(self) -> Self:
        # In order, each once: the first is the reference.
        self.answers = tuple(dict.fromkeys(self.answers))
        if not (self.answers or self.is_impossible):
            raise ValueError("has no answer ('answer' or 'answers')")
        return self


class PassageForm(BaseModel):
    """A passage as data files write it."""

    id: _Id | None = None
    title: _Text
    context: _Text
    questions: list[_QuestionForm] = Field(
        default_factory=list, validation_alias=AliasChoices("questions", "qas")
    )
    one_question: bool = False

    @model_validator(mode="before")
    @classmethod
    def _row(cls, record: Any) -> Any:
        """A row of one question, as the `datasets` library has SQuAD; unread data is refused."""
        if not isinstance(record, dict):
            return record
        lists = [name for name in ("questions", "qas") if name in record]
        if isinstance(record.get("question"), str) and not any(record[name] for name in lists):
            question = {name: record[name] for name in _OF_A_QUESTION if name in record}
            return {name: record[name] for name in ("title", "context") if name in record} | {
                "questions": [question],
                "one_question": True,
            }
        # A misspelt `question` would else give a passage without questions, unnoticed.
        for name in record:
            data = not lists or (isinstance(record[name], dict | list) and record[name])
            if name not in lists[:1] and data and _LIKE_DATA.search(str(name)):
                what = f"has a field that is not read: {str(name)[:40]!r}; call it 'questions'"
                raise ValueError(what)
        return record

    @field_validator("questions")
    @classmethod
    def _answerable(cls, questions: list[_QuestionForm]) -> list[_QuestionForm]:
        return [question for question in questions if not question.is_impossible]


class BadRecord(str):
    """What is wrong with a record that could not even be taken out of its file."""


def checked_passages(records: Iterable[tuple[str, Any]], source: object) -> list[PassageForm]:
    """The passages of good records; if any is bad, one error that lists the first few bad ones."""
    good: list[PassageForm] = []
    bad: list[str] = []
    for name, record in records:
        # All records are looked at: one error names the first few, not one a run.
        try:
            good.append(PassageForm.model_validate(record))
        except ValidationError as error:
            problems = (
                [record]
                if isinstance(record, BadRecord)
                else [_problem(each) for each in error.errors()]
            )
            bad.append(f"{name}: {'; '.join(problems)}")
    if bad:
        what = f"{len(bad)} of {len(good) + len(bad)} records cannot be used"
        raise FormatError(
            what, where=list_first(bad, source), fix=f"correct or remove them; {RECORD_FORM}"
        )
    if not good:
        raise FormatError("the file holds no records", where=source, fix=RECORD_FORM)
    return _together(good)


def checked_questions(
    records: Iterable[tuple[str, Any]], source: object
) -> list[tuple[str, tuple[str, ...]]]:
    """Questions with their acceptable answers, of records that are passages with questions or
    single questions, ``{"question": ..., "answers": [...]}``.

    Raises:
        FormatError: as `checked_passages`; or there is no question among them.
    """
    # What a question needs no passage for is filled in: the form is then that of a passage's row.
    filled = (
        (name, {"title": "-", "context": "-", **record} if isinstance(record, dict) else record)
        for name, record in records
    )
    questions = [each for form in checked_passages(filled, source) for each in form.questions]
    if not questions:
        fix = 'a question looks like {"question": "...", "answers": ["..."]}'
        raise FormatError("the file holds no questions", where=source, fix=fix)
    return [(each.question, each.answers) for each in questions]


def _together(forms: list[PassageForm]) -> list[PassageForm]:
    """Rows of one question each, put together where the passage is the same, in whatever order."""
    joined: dict[str | int, PassageForm] = {}
    for form in forms:
        key = form.context if form.one_question else id(form)
        first = joined.setdefault(key, form)
        if first is not form:
            first.questions.extend(form.questions)
    return list(joined.values())


def _problem(error: ErrorDetails) -> str:
    """What is wrong with a field, in our words: "question 2 answer is missing"."""
    names = [f"{part + 1}" if isinstance(part, int) else f"'{part}'" for part in error["loc"]]
    message = _PROBLEMS.get(error["type"], error["msg"].removeprefix("Value error, "))
    return " ".join([*names, message])


def list_first(places: list[str], source: object) -> str:
    """The source and, a line each, the first few places in it."""
    more = [f"and {len(places) - LISTED_PLACES} more"] if len(places) > LISTED_PLACES else []
    return "\n    ".join([str(source), *places[:LISTED_PLACES], *more])
