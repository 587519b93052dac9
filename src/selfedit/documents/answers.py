"""Every question of a run on documents with its answers before, now, and with the passage in the
prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from typing_extensions import TypedDict

from selfedit.documents.recall import Answered


class AskedRecord(TypedDict):
    """A question with its answers before, now, and with the passage in the prompt; a verdict is
    None where the grader came to none.
    """

    context: str
    id: str
    question: str
    answers: list[str]
    before: str
    now: str
    in_prompt: str
    right_before: bool | None
    right_now: bool | None
    right_in_prompt: bool | None


def asked_records(
    questions: Mapping[str, tuple[str, Sequence[str]]],
    before: Sequence[Answered],
    now: Sequence[Answered],
    in_prompt: Sequence[Answered],
) -> list[AskedRecord]:
    """The answers of three askings, side by side.

    Args:
        questions: by id, the text and the acceptable answers.
        before, now, in_prompt: answers to the same questions, in one order.
    """
    records: list[AskedRecord] = []
    for first, then, prompted in zip(before, now, in_prompt, strict=True):
        text, golds = questions[first.question]
        record: AskedRecord = {
            "context": first.context,
            "id": first.question,
            "question": text,
            "answers": list(golds),
            "before": first.answer,
            "now": then.answer,
            "in_prompt": prompted.answer,
            "right_before": first.correct,
            "right_now": then.correct,
            "right_in_prompt": prompted.correct,
        }
        records.append(record)
    return records
