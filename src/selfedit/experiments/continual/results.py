"""The numbers of continual edits: the matrix, what was kept, what was damaged besides, and the ways
side by side.

The unit is the sequence: n counts sequences and standard errors are over sequences.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from selfedit.config import Settings
from selfedit.errors import DataError
from selfedit.experiments.continual.published import SOURCE, published
from selfedit.grading.grader import NO_VERDICT
from selfedit.grading.stats import mean_se
from selfedit.results.compare import Scores, difference
from selfedit.results.results import Difference, Published, Results, Row
from selfedit.results.tabular import Cell, Column, Table
from selfedit.storage.neutral import in_csv
from selfedit.tasks.task import Context

UNEDITED = "unedited"
Steps = Sequence[Sequence[Mapping[str, Any]]]
"""For each sequence, what each step measured."""


def continual_results(
    settings: Settings,
    plan: Sequence[Sequence[Context]],
    before: Mapping[str, Any],
    after: Mapping[str, Steps],
) -> Results:
    """All of a run's numbers but what it was made from; those of the first way also stand at the
    top.

    A sequence is counted if a judge gave a verdict on all its passages, before and after every
    edit, under every way.

    Raises:
        DataError: no sequence has all verdicts.
    """
    planned = [[context.id for context in sequence] for sequence in plan]
    places = [n for n, sequence in enumerate(planned) if _complete(n, sequence, before, after)]
    if not places:
        raise DataError(
            "no sequence has a verdict on all of its passages",
            where=settings.answer.grader,
            fix=NO_VERDICT,
        )
    ids = [planned[n] for n in places]
    after = {name: [steps[n] for n in places] for name, steps in after.items()}
    ways = {name: _way(ids, before, steps) for name, steps in after.items()}
    scores = {
        UNEDITED: _per_sequence([[before["accuracy"][c] for c in sequence] for sequence in ids])
    }
    scores |= {name: _per_sequence(_finals(ids, steps)) for name, steps in after.items()}
    first = next(iter(ways.values()))
    return Results(
        experiment="continual",
        title=f"After {settings.continual.steps} edits one after the other (n counts sequences)",
        rows=_rows(scores, ways),
        paired=_pairs(scores, ways, ids, after),
        tables=_tables(ways),
        published=Published(SOURCE, more=published()),
        grader=settings.answer.grader,
        settings=settings.model_dump(mode="json"),
        more={
            "matrix": first["matrix"],
            "matrix_se": first["matrix_se"],
            "general_loss": first["general_loss"],
            "ways": ways,
            "sequences": ids,
            "without_verdict": len(planned) - len(ids),
            "distinct_passages": len({c for sequence in ids for c in sequence}),
        },
    )


def _complete(
    number: int, sequence: Sequence[str], before: Mapping[str, Any], after: Mapping[str, Steps]
) -> bool:
    """Whether every passage of the sequence has an accuracy, unedited and after each edit from its
    own on.
    """
    return all(name in before["accuracy"] for name in sequence) and all(
        name in step["accuracy"]
        for steps in after.values()
        for so_far, step in enumerate(steps[number], start=1)
        for name in sequence[:so_far]
    )


def _way(ids: Sequence[Sequence[str]], before: Mapping[str, Any], steps: Steps) -> dict[str, Any]:
    length = len(ids[0])
    cells = [[[before["accuracy"][sequence[c]] for sequence in ids] for c in range(length)]]
    for r in range(1, length + 1):
        row = [
            [s[r - 1]["accuracy"][sequence[c]] for sequence, s in zip(ids, steps, strict=True)]
            for c in range(r)
        ]
        cells.append(row)
    estimates = [[mean_se(cell) for cell in row] for row in cells]
    just = [
        [s[r]["accuracy"][sequence[r]] for r in range(length)]
        for sequence, s in zip(ids, steps, strict=True)
    ]
    found = {
        "matrix": [[e.mean for e in row] for row in estimates],
        "matrix_se": [[e.se for e in row] for row in estimates],
        "just_edited": mean_se(_per_sequence(just).values()).as_dict(),
        "final": mean_se(_per_sequence(_finals(ids, steps)).values()).as_dict(),
        "kept": _ratio(
            list(_per_sequence(_finals(ids, steps)).values()), list(_per_sequence(just).values())
        ),
        "general_loss": _general(before["general"], steps),
        "never_edited": _never(ids, before, steps),
        "tokens": sum(step["tokens"] for s in steps for step in s),
    }
    if any(step["gate"]["attempts"] for s in steps for step in s):
        factors = [step["gate"]["factor"] for s in steps for step in s]
        found["gate"] = {
            "refused": factors.count(0.0),
            "scaled": sum(0 < f < 1 for f in factors),
            "edits": len(factors),
        }
    routed = [
        [step["routed_right"] for step in s if step["routed_right"] is not None] for s in steps
    ]
    if all(routed):
        found["routed_right"] = mean_se([sum(r) / len(r) for r in routed]).as_dict()
    return found


def _finals(ids: Sequence[Sequence[str]], steps: Steps) -> list[list[float]]:
    return [
        [s[-1]["accuracy"][c] for c in sequence] for sequence, s in zip(ids, steps, strict=True)
    ]


def _per_sequence(values: Sequence[Sequence[float]]) -> dict[str, float]:
    return {f"sequence-{number}": sum(v) / len(v) for number, v in enumerate(values)}


def _ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float | int | None]:
    """A ratio of means with its standard error over sequences, by the delta method; None where
    nothing was learned.
    """
    n, top, bottom = len(above), sum(above) / len(above), sum(below) / len(below)
    if bottom <= 0:
        return {"mean": None, "se": None, "n": n}
    ratio = top / bottom
    residuals = [a - ratio * b for a, b in zip(above, below, strict=True)]
    se = math.sqrt(sum(e * e for e in residuals) / (n - 1) / n) / bottom if n > 1 else None
    return {"mean": ratio, "se": se, "n": n}


def _general(before: Sequence[float], steps: Steps) -> dict[str, Any]:
    """Mean loss on everyday text after each number of edits, and its rise as a share of the
    unedited loss.
    """
    base = sum(before) / len(before)
    rows: list[dict[str, Any]] = [
        {"edits": 0, "mean": base, "se": None, "n": len(steps), "rise": 0.0}
    ]
    for r in range(len(steps[0])):
        estimate = mean_se([sum(s[r]["general"]) / len(s[r]["general"]) for s in steps])
        rows.append({"edits": r + 1, **estimate.as_dict(), "rise": estimate.mean / base - 1})
    return {"before": base, "after": rows[-1]["mean"], "rise": rows[-1]["rise"], "by_step": rows}


def _never(
    ids: Sequence[Sequence[str]], before: Mapping[str, Any], steps: Steps
) -> list[dict[str, Any]] | None:
    """Accuracy on the passages that no sequence edits, after each number of edits; None without
    such passages.

    Those that a judge left without a verdict anywhere are left out.
    """
    known = [before["accuracy"], *(step["accuracy"] for s in steps for step in s)]
    probes = [
        name
        for name in steps[0][-1]["accuracy"]
        if name not in ids[0] and all(name in of for of in known)
    ]
    if not probes:
        return None
    base = mean_se([sum(before["accuracy"][p] for p in probes) / len(probes)] * len(steps))
    rows: list[dict[str, Any]] = [{"edits": 0, **base.as_dict(), "se": None}]
    for r in range(len(steps[0])):
        means = [sum(s[r]["accuracy"][p] for p in probes) / len(probes) for s in steps]
        rows.append({"edits": r + 1, **mean_se(means).as_dict()})
    return rows


def _rows(scores: Scores, ways: Mapping[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for name, of_way in scores.items():
        estimate, more = mean_se(of_way.values()), {}
        if name in ways:
            way = ways[name]
            more = {
                "just_edited": way["just_edited"],
                "kept": way["kept"],
                "general_rise": way["general_loss"]["rise"],
            }
        rows.append(Row(name, estimate.mean, estimate.se, estimate.n, more))
    return rows


def _pairs(
    scores: Scores,
    ways: Mapping[str, Any],
    ids: Sequence[Sequence[str]],
    after: Mapping[str, Steps],
) -> list[Difference]:
    """Each way against the unedited model, against the first way, and its end against what was just
    learned.
    """
    first = next(iter(ways))
    gaps: list[Difference] = []
    for name in ways:
        gaps.append(difference(scores, UNEDITED, name))
        if name != first:
            gaps.append(difference(scores, first, name))
        just = [
            [s[r]["accuracy"][q[r]] for r in range(len(q))]
            for q, s in zip(ids, after[name], strict=True)
        ]
        ends = {f"{name}, at the end": scores[name], "just edited": _per_sequence(just)}
        gaps.append(difference(ends, "just edited", f"{name}, at the end"))
    return gaps


def matrix_csv(results: Mapping[str, Any]) -> str:
    """Every cell of every matrix as a line: way, edits so far, passage, accuracy, standard error."""
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


def _tables(ways: Mapping[str, Any]) -> list[Table]:
    """What a person reads: each matrix, the published one, and what else was kept and damaged."""
    tables = [_summary(ways)]
    for name, way in ways.items():
        title = f"{name}: accuracy % (se) on each passage, by number of edits"
        tables.append(_matrix_table(title, way["matrix"], way["matrix_se"]))
    return [*tables, _matrix_table(f"Published: {SOURCE}", published()["matrix"], None)]


def _summary(ways: Mapping[str, Any]) -> Table:
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
