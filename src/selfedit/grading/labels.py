"""Labelled replies from a file: a question, its gold answers, what was answered, and whether a
judge called it right.

JSON lines or one JSON array, gzipped if the name ends in ``.gz``. Fields have the names most files
give them:

- the question: ``question`` or ``query``;
- the gold answer, or a list of acceptable ones: ``gold``, ``golds``, ``gold_answer``,
  ``reference``, ``target``, ``answers``;
- what was answered: ``prediction``, ``pred``, ``response``, ``student_answer``, ``model_answer``;
- ``answer`` is the gold answer where no other field is, else what was answered;
- the verdict: ``votes_yes`` with ``votes``, or ``label``, ``correct``, ``verdict``: a bool, a share
  of votes in [0, 1], or yes/no, true/false, correct/incorrect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfedit.errors import DataError, FormatError
from selfedit.grading.grader import Reply
from selfedit.grading.text import normalise
from selfedit.storage.bounded import BoundedReader, Unreadable, json_value

_QUESTION = ("question", "query")
_GOLD = ("gold", "golds", "gold_answer", "reference", "target", "answers")
_SAID = ("prediction", "pred", "response", "student_answer", "model_answer")
_VERDICT = ("label", "correct", "verdict")
_WORDS = {"yes": 1.0, "true": 1.0, "correct": 1.0, "no": 0.0, "false": 0.0, "incorrect": 0.0}
_LABELS_FIX = "a line needs question, gold, prediction, and votes_yes with votes, or label"
_LABELS = BoundedReader(
    "the labels", fix=f"give a .jsonl or .json file, or either with .gz; {_LABELS_FIX}", unique=True
)


@dataclass(frozen=True)
class Label:
    """A judge's verdict on a reply; ``yes``: the share of votes for it, ``more``: further golds."""

    question: str
    gold: str
    prediction: str
    yes: float
    more: tuple[str, ...] = ()

    @property
    def correct(self) -> bool:
        """The majority's verdict; a tie is a no."""
        return self.yes > 0.5

    @property
    def golds(self) -> tuple[str, ...]:
        """Every acceptable answer."""
        return (self.gold, *self.more)

    @property
    def reply(self) -> Reply:
        """What a grader is given."""
        return Reply(self.question, self.golds, self.prediction)


def read_labels(path: str | Path) -> list[Label]:
    """Read labelled replies from a file.

    Raises:
        DataError: the file is not there or has no labels.
        FormatError: a record is not a labelled reply; the message names its line.
    """
    path = Path(path)
    text = _LABELS.text(path)
    labels = [_label(record, where) for where, record in _records(text, path)]
    if not labels:
        raise DataError("there are no labels in the file", where=path)
    return labels


def _records(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    if text.lstrip().startswith("["):
        try:
            array = json_value(text, unique=True)
        except Unreadable:
            array = None  # lines that are arrays: each is refused below, by its number
        if isinstance(array, list) and any(isinstance(record, dict) for record in array):
            yield from (
                (f"{path}, record {number}", record) for number, record in enumerate(array, start=1)
            )
            return
    yield from _LABELS.json_lines(text, path)


def _label(row: Any, where: str) -> Label:
    if not isinstance(row, dict):
        raise FormatError("not a labelled reply: not an object", where=where, fix=_LABELS_FIX)
    question, gold, reply = _field(row, _QUESTION), _field(row, _GOLD), _field(row, _SAID)
    if gold is None:
        gold = row.get("answer")
    elif reply is None:
        reply = row.get("answer")
    golds: list[Any] = gold if isinstance(gold, list) else [gold]
    texts = [question, reply, *golds]
    if not golds or not all(isinstance(text, str) for text in texts):
        what = (
            "not a labelled reply: a text is missing or not a string (it has"
            f" {', '.join(map(str, row))})"
        )
        raise FormatError(what, where=where, fix=_LABELS_FIX)
    golds = [text for text in golds if normalise(text)]
    if not golds:
        raise FormatError("the gold answer is blank", where=where, fix=_LABELS_FIX)
    return Label(str(question), golds[0], str(reply), _verdict(row, where), tuple(golds[1:]))


def _field(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _verdict(row: Mapping[str, Any], where: str) -> float:
    verdict = _field(row, _VERDICT)
    try:
        if verdict is None:
            yes = row["votes_yes"] / row["votes"]
        elif isinstance(verdict, str):
            yes = _WORDS[verdict.strip().casefold()]
        else:
            yes = float(verdict)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise FormatError(
            f"no verdict that can be read: {error!r}", where=where, fix=_LABELS_FIX
        ) from error
    if not 0 <= yes <= 1:
        raise FormatError(
            f"the votes are impossible: a share of {yes}", where=where, fix=_LABELS_FIX
        )
    return yes
