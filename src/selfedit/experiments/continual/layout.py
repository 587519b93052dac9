"""Continual edits for a person: the matrices, what was kept, what was damaged; and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from selfedit.experiments.continual.measures import WayRecord
from selfedit.experiments.continual.published import SOURCE, published
from selfedit.results.tabular import Cell, Column, Table
from selfedit.storage.files import JsonObject
from selfedit.storage.neutral import in_csv


def matrix_csv(results: JsonObject) -> str:
    """Every cell of every matrix as a line: way, edits, passage, accuracy, standard error."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["way", "edits", "passage", "accuracy", "se", "n"])
    for name, way in results["ways"].items():
        n = way["final"]["n"]
        for r, (row, errors) in enumerate(zip(way["matrix"], way["matrix_se"], strict=True)):
            for c, (value, se) in enumerate(zip(row, errors, strict=True), start=1):
                writer.writerow(
                    [in_csv(name), r, c, repr(value), "" if se is None else repr(se), n]
                )
    for r, row in enumerate(results["published"]["matrix"]):
        for c, value in enumerate(row, start=1):
            writer.writerow(["published", r, c, repr(value), "", results["published"]["sequences"]])
    return out.getvalue()


def way_tables(ways: Mapping[str, WayRecord]) -> list[Table]:
    """What a person reads: each matrix, the published one, and what else was kept and damaged."""
    tables = [_summary(ways)]
    for name, way in ways.items():
        title = f"{name}: accuracy % (se) on each passage, by number of edits"
        tables.append(_matrix_table(title, way["matrix"], way["matrix_se"]))
    return [*tables, _matrix_table(f"Published: {SOURCE}", published()["matrix"], None)]


def _summary(ways: Mapping[str, WayRecord]) -> Table:
    percents = ["just edited %", "at the end %", "kept %", "se", "never edited %", "before"]
    columns = ["way", *(Column(name, "percent") for name in percents)]
    columns += [Column("everyday loss", "number3"), Column("rise %", "percent")]
    rows: list[list[Cell]] = []
    for name, way in ways.items():
        kept, general, never = way["kept"], way["general_loss"], way["never_edited"]
        cells: list[Cell] = [
            name,
            way["just_edited"]["mean"],
            way["final"]["mean"],
            kept["mean"],
            kept["se"],
        ]
        cells += [never[-1]["mean"], never[0]["mean"]] if never else ["-", "-"]
        rows.append([*cells, general["after"], general["rise"]])
    known = published()
    share = known["final"] / known["just_edited"]
    rows.append(["published", known["just_edited"], known["final"], share, *["-"] * 5])
    return Table.make("What was kept, and what was damaged besides", columns, rows)


def _matrix_table(
    title: str, matrix: Sequence[Sequence[float]], errors: Sequence[Sequence[float | None]] | None
) -> Table:
    width = max(map(len, matrix))
    rows: list[list[Cell]] = []
    for edits, row in enumerate(matrix):
        cells: list[Cell] = (
            list(row) if errors is None else list(zip(row, errors[edits], strict=True))
        )
        rows.append([str(edits), *cells, *[""] * (width - len(row))])
    return Table.make(
        title, ["edits", *(Column(str(c), "percent") for c in range(1, width + 1))], rows
    )
