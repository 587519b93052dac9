"""What a second grader says of a table, and what tricks score."""

from __future__ import annotations

from typing import Any

from selfedit.grading.stats import mean_se
from selfedit.results.names import CANARY, CANARY_NAMES, CANARY_ROW
from selfedit.results.results import Results
from selfedit.results.tabular import Cell, Column, Table


def canary_row(results: Results, width: int) -> list[list[Cell]]:
    """What the best trick scores, as the last row of the table."""
    tricks = [row for row in results.more.get("canary", ()) if row["method"] == CANARY]
    return [
        [CANARY_ROW, row["accuracy"], row["se"], row["n"], *[""] * (width - 4)] for row in tricks
    ]


def two_graders_table(results: Results) -> Table:
    """Every method and every trick by the table's grader and by a second one, and how long answers
    are.
    """
    second: dict[str, Any] = results.more.get("second", {})
    words: dict[str, float] = results.more.get("answer_words", {})
    rows: list[list[Cell]] = []
    for row in results.rows:
        if scores := second.get("contexts", {}).get(row.method):
            estimate = mean_se(scores.values())
            by_second: list[Cell] = [estimate.mean, estimate.se]
            name = row.method
            rows.append([name, row.accuracy, row.se, *by_second, words.get(name, ""), row.n])
    tricks = {row["method"]: row for row in second.get("canary", ())}
    for row in results.more.get("canary", ()):
        other = tricks.get(row["method"], {"accuracy": "", "se": ""})
        name = CANARY_NAMES.get(row["method"], row["method"])
        cells: list[Cell] = [row["accuracy"], row["se"], other["accuracy"], other["se"]]
        rows.append([name, *cells, "", row["n"]])
    columns: list[Column | str] = ["answers"]
    for grader in (results.grader or "grader", second.get("grader", "")):
        columns += [Column(f"{grader} %", "percent"), Column("se", "percent")]
    return Table.make(
        "By two graders, and what tricks score",
        [*columns, Column("words an answer", "number1"), "n"],
        rows,
    )
