"""What a run on documents shows besides its verdict: each passage beside what was learned of it,
what was left out and why, every question with its answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from selfedit.documents.answers import AskedRecord
from selfedit.documents.material import PassageMaterial
from selfedit.documents.verdict import DocumentVerdict
from selfedit.grading.stats import EstimateDict
from selfedit.results.results import Row
from selfedit.results.tabular import Cell, Table
from selfedit.tasks.knowledge.support import passage_sentences

TITLE = "Questions answered (n counts questions)"
NAMES = {
    "before": "before: the model as it was",
    "weights": "now: from the weights, the passage nowhere in the prompt",
    "prompt": "the model as it was, the passage in its prompt",
}
_MOST_ROWS = 500
"""Rows of a table."""


def verdict_rows(verdict: DocumentVerdict) -> list[Row]:
    """The shares of questions answered; none where nothing was records."""
    shares: Mapping[str, EstimateDict | None] = {
        "before": verdict["before"],
        "weights": verdict["weights"],
        "prompt": verdict["prompt"],
    }
    return [
        Row(name, share["mean"], share["se"], share["n"])
        for name, share in shares.items()
        if share is not None
    ]


def document_tables(
    material: Sequence[PassageMaterial], records: Sequence[AskedRecord]
) -> list[Table]:
    """The tables, each with its first rows only where there are very many."""
    learned = list(_learned_rows(material))
    dropped: list[Sequence[Cell]] = []
    for each in material:
        dropped += [[each.context.title, line.text, line.why] for line in each.dropped]
    return [
        _capped_table(
            "Questions",
            ["question", "answer", "before", "", "now", "", "in the prompt", ""],
            _asked(records),
        ),
        _capped_table(
            "Passages and what was learned of them", ["passage", "says", "learned"], learned
        ),
        _capped_table("Left out", ["passage", "sentence of the self-edit", "why"], dropped),
    ]


def _capped_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    note = f" (the first {_MOST_ROWS} of {len(rows)} rows)" if len(rows) > _MOST_ROWS else ""
    return Table.make(f"{title}{note}", columns, rows[:_MOST_ROWS])


def _asked(records: Sequence[AskedRecord]) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for each in records:
        answers: list[Cell] = []
        for text, right in (
            (each["before"], each["right_before"]),
            (each["now"], each["right_now"]),
            (each["in_prompt"], each["right_in_prompt"]),
        ):
            answers += [text.strip(), _mark(right)]
        rows.append([each["question"], each["answers"][0], *answers])
    return rows


def _mark(right: bool | None) -> str:
    return "?" if right is None else "right" if right else "wrong"


def _learned_rows(material: Sequence[PassageMaterial]) -> Iterator[list[Cell]]:
    """Sentence by sentence, a passage's on the left; what was learned of it on the right."""
    # The title once: the rows below it are the same passage's.
    for each in material:
        pairs = [f"{question} {answer}" for question, answer in (*each.edit.pairs, *each.edit.bare)]
        beside = zip_longest(
            passage_sentences(each.context), [*each.edit.lines, *pairs], fillvalue=""
        )
        title = each.context.title
        for says, line in beside:
            yield [title, says, line]
            title = ""
