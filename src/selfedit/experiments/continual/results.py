"""The numbers of continual edits: the matrix, what was kept, what was damaged besides, and the ways side by side.

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
from selfedit.experiments.continual.published import published
from selfedit.grading.grader import NO_VERDICT
from selfedit.grading.stats import mean_se, paired
from selfedit.storage.neutral import in_csv
from selfedit.tasks.task import Context

UNEDITED = "unedited"
Steps = Sequence[Sequence[Mapping[str, Any]]]
"""For each sequence, what each step measured."""


def continual_results(
    settings: Settings, plan: Sequence[Sequence[Context]], before: Mapping[str, Any], after: Mapping[str, Steps]
) -> dict[str, Any]:
    """All of a run's numbers; those of the first way also stand at the top.

    A sequence is counted if a judge gave a verdict on all its passages, before and after every edit, under every way.

    Raises:
        DataError: no sequence has all verdicts.
    """
    planned = [[context.id for context in sequence] for sequence in plan]
    places = [n for n, sequence in enumerate(planned) if _complete(n, sequence, before, after)]
    if not places:
        raise DataError(
            "no sequence has a verdict on all of its passages", where=settings.answer.grader, fix=NO_VERDICT
        )
    ids = [planned[n] for n in places]
    after = {name: [steps[n] for n in places] for name, steps in after.items()}
    ways = {name: _way(ids, before, steps) for name, steps in after.items()}
    scores = {UNEDITED: _per_sequence([[before["accuracy"][c] for c in sequence] for sequence in ids])}
    scores |= {name: _per_sequence(_finals(ids, steps)) for name, steps in after.items()}
    first = next(iter(ways.values()))
    results = {
        "rows": _rows(scores, ways),
        "paired": _pairs(scores, ways, ids, after),
        "matrix": first["matrix"],
        "matrix_se": first["matrix_se"],
        "general_loss": first["general_loss"],
        "ways": ways,
        "published": published(),
        "sequences": ids,
        "without_verdict": len(planned) - len(ids),
        "distinct_passages": len({c for sequence in ids for c in sequence}),
        "title": f"After {settings.continual.steps} edits one after the other (n counts sequences)",
    }
    return results | {"tables": _tables(results)}


def _complete(number: int, sequence: Sequence[str], before: Mapping[str, Any], after: Mapping[str, Steps]) -> bool:
    """Whether every passage of the sequence has an accuracy, unedited and after each edit from its own on."""
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
        row = [[s[r - 1]["accuracy"][sequence[c]] for sequence, s in zip(ids, steps, strict=True)] for c in range(r)]
        cells.append(row)
    estimates = [[mean_se(cell) for cell in row] for row in cells]
    just = [[s[r]["accuracy"][sequence[r]] for r in range(length)] for sequence, s in zip(ids, steps, strict=True)]
    found = {
        "matrix": [[e.mean for e in row] for row in estimates],
        "matrix_se": [[e.se for e in row] for row in estimates],
        "just_edited": mean_se(_per_sequence(just).values()).as_dict(),
        "final": mean_se(_per_sequence(_finals(ids, steps)).values()).as_dict(),
        "kept": _ratio(list(_per_sequence(_finals(ids, steps)).values()), list(_per_sequence(just).values())),
        "general_loss": _general(before["general"], steps),
        "never_edited": _never(ids, before, steps),
        "tokens": sum(step["tokens"] for s in steps for step in s),
    }
    if any(step["gate"]["tried"] for s in steps for step in s):
        factors = [step["gate"]["factor"] for s in steps for step in s]
        found["gate"] = {
            "refused": factors.count(0.0),
            "scaled": sum(0 < f < 1 for f in factors),
            "edits": len(factors),
        }
    routed = [[step["routed_right"] for step in s if step["routed_right"] is not None] for s in steps]
    if all(routed):
        found["routed_right"] = mean_se([sum(r) / len(r) for r in routed]).as_dict()
    return found


def _finals(ids: Sequence[Sequence[str]], steps: Steps) -> list[list[float]]:
    return [[s[-1]["accuracy"][c] for c in sequence] for sequence, s in zip(ids, steps, strict=True)]


def _per_sequence(values: Sequence[Sequence[float]]) -> dict[str, float]:
    return {f"sequence-{number}": sum(v) / len(v) for number, v in enumerate(values)}


def _ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float | int | None]:
    """A ratio of means with its standard error over sequences, by the delta method; None where nothing was learned."""
    n, top, bottom = len(above), sum(above) / len(above), sum(below) / len(below)
    if bottom <= 0:
        return {"mean": None, "se": None, "n": n}
    ratio = top / bottom
    residuals = [a - ratio * b for a, b in zip(above, below, strict=True)]
    se = math.sqrt(sum(e * e for e in residuals) / (n - 1) / n) / bottom if n > 1 else None
    return {"mean": ratio, "se": se, "n": n}


def _general(before: Sequence[float], steps: Steps) -> dict[str, Any]:
    """Mean loss on everyday text after each number of edits, and its rise as a share of the unedited loss."""
    base = sum(before) / len(before)
    rows: list[dict[str, Any]] = [{"edits": 0, "mean": base, "se": None, "n": len(steps), "rise": 0.0}]
    for r in range(len(steps[0])):
        estimate = mean_se([sum(s[r]["general"]) / len(s[r]["general"]) for s in steps])
        rows.append({"edits": r + 1, **estimate.as_dict(), "rise": estimate.mean / base - 1})
    return {"before": base, "after": rows[-1]["mean"], "rise": rows[-1]["rise"], "by_step": rows}


def _never(ids: Sequence[Sequence[str]], before: Mapping[str, Any], steps: Steps) -> list[dict[str, Any]] | None:
    """Accuracy on the passages that no sequence edits, after each number of edits; None without such passages.

    Those that a judge left without a verdict anywhere are left out.
    """
    known = [before["accuracy"], *(step["accuracy"] for s in steps for step in s)]
    probes = [name for name in steps[0][-1]["accuracy"] if name not in ids[0] and all(name in of for of in known)]
    if not probes:
        return None
    base = mean_se([sum(before["accuracy"][p] for p in probes) / len(probes)] * len(steps))
    rows: list[dict[str, Any]] = [{"edits": 0, **base.as_dict(), "se": None}]
    for r in range(len(steps[0])):
        means = [sum(s[r]["accuracy"][p] for p in probes) / len(probes) for s in steps]
        rows.append({"edits": r + 1, **mean_se(means).as_dict()})
    return rows


def _rows(scores: Mapping[str, Mapping[str, float]], ways: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, of_way in scores.items():
        estimate = mean_se(of_way.values())
        row = {"method": name, "accuracy": estimate.mean, "se": estimate.se, "n": estimate.n}
        if name in ways:
            way = ways[name]
            row |= {"just_edited": way["just_edited"], "kept": way["kept"], "general_rise": way["general_loss"]["rise"]}
        rows.append(row)
    return rows


def _pairs(
    scores: Mapping[str, Mapping[str, float]], ways: Mapping[str, Any], ids: Sequence[Sequence[str]], after: Any
) -> list[dict[str, Any]]:
    """Each way against the unedited model, against the first way, and its end against what was just learned."""
    first = next(iter(ways))
    found = []
    for name in ways:
        found.append(_pair(name, UNEDITED, scores[name], scores[UNEDITED]))
        if name != first:
            found.append(_pair(name, first, scores[name], scores[first]))
        just = [[s[r]["accuracy"][q[r]] for r in range(len(q))] for q, s in zip(ids, after[name], strict=True)]
        found.append(_pair(f"{name}, at the end", "just edited", scores[name], _per_sequence(just)))
    return found


def _pair(a: str, b: str, left: Mapping[str, float], right: Mapping[str, float]) -> dict[str, Any]:
    gap = paired(left, right)
    return {"a": a, "b": b, "difference": gap.difference, "se": gap.se, "n": gap.n}


def matrix_csv(results: Mapping[str, Any]) -> str:
    """Every cell of every matrix as a line: way, edits so far, passage, accuracy, standard error."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["way", "edits", "passage", "accuracy", "se", "n"])
    for name, way in results["ways"].items():
        n = way["final"]["n"]
        for r, (row, errors) in enumerate(zip(way["matrix"], way["matrix_se"], strict=True)):
            for c, (value, se) in enumerate(zip(row, errors, strict=True), start=1):
                writer.writerow([in_csv(name), r, c, repr(value), "" if se is None else repr(se), n])
    for r, row in enumerate(results["published"]["matrix"]):
        for c, value in enumerate(row, start=1):
            writer.writerow(["published", r, c, repr(value), "", results["published"]["sequences"]])
    return out.getvalue()


def _tables(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a person reads: each matrix, the published one, and what else was kept and damaged."""
    tables = [_summary(results)]
    for name, way in results["ways"].items():
        title = f"{name}: accuracy % (se) on each passage, by number of edits"
        tables.append(_matrix_table(title, way["matrix"], way["matrix_se"]))
    tables.append(_matrix_table(f"Published: {results['published']['source']}", results["published"]["matrix"], None))
    return tables


def _summary(results: Mapping[str, Any]) -> dict[str, Any]:
    columns = [
        "way",
        "just edited %",
        "at the end %",
        "kept %",
        "se",
        "never edited %",
        "before",
        "everyday loss",
        "rise %",
    ]
    rows = []
    for name, way in results["ways"].items():
        kept, general, never = way["kept"], way["general_loss"], way["never_edited"]
        rows.append(
            [
                name,
                _percent(way["just_edited"]["mean"]),
                _percent(way["final"]["mean"]),
                _percent(kept["mean"]),
                _percent(kept["se"]),
                _percent(never[-1]["mean"]) if never else "-",
                _percent(never[0]["mean"]) if never else "-",
                f"{general['after']:.3f}",
                f"{100 * general['rise']:+.2f}",
            ]
        )
    known = results["published"]
    share = _percent(known["final"] / known["just_edited"])
    rows.append(["published", _percent(known["just_edited"]), _percent(known["final"]), share, *["-"] * 5])
    return {"title": "What was kept, and what was damaged besides", "columns": columns, "rows": rows}


def _matrix_table(
    title: str, matrix: Sequence[Sequence[float]], errors: Sequence[Sequence[float | None]] | None
) -> dict[str, Any]:
    width = max(map(len, matrix))
    rows = []
    for r, row in enumerate(matrix):
        cells = [_percent(v) + (f" ({_percent(errors[r][c])})" if errors else "") for c, v in enumerate(row)]
        rows.append([str(r), *cells, *[""] * (width - len(cells))])
    return {"title": title, "columns": ["edits", *[str(c) for c in range(1, width + 1)]], "rows": rows}


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{100 * share:.1f}"
