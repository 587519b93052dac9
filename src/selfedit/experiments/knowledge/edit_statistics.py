"""The self-edits of a policy in numbers: the means that figures and results show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from selfedit.grading.stats import mean
from selfedit.results.tabular import Column, Table
from selfedit.run.records import SelfEditRow
from selfedit.tasks.knowledge.directives import as_asked
from selfedit.tasks.knowledge.edits import ParsedEdit
from selfedit.tasks.knowledge.shape import compression_ratio, shape


def shape_of(rows: Sequence[SelfEditRow], task: Any) -> dict[str, Any]:
    """Means over self-edits (n of them): length, lines, share of lines with one fact, diversity,
    compression.

    ``compression_all`` is the ratio of all of them as one text, in the order of the ledger: how
    much they repeat one another (Shaib et al. 2024, arXiv 2403.00553, measure the diversity of a
    set of texts so).
    """
    parse: Callable[[str], ParsedEdit] = task.parse
    edits = [parse(row.text) for row in rows]
    shapes = [shape(row.text, edit) for row, edit in zip(rows, edits, strict=True)]
    asks = Counter(f"{name}={value}" for edit in edits for name, value in _calls(edit))
    shares = {call: count / len(rows) for call, count in sorted(asks.items())}
    return ({"asked": shares} if shares else {}) | {
        "n": len(rows),
        "tokens": mean_known(row.tokens for row in rows),
        "facts": mean_known(s.lines for s in shapes),
        "pairs": mean_known(len(edit.pairs) for edit in edits),
        "single_fact": mean_known(s.single_fact for s in shapes),
        "diversity": mean_known(s.diversity for s in shapes),
        "compression": mean_known(s.compression for s in shapes),
        "compression_all": compression_ratio("\n".join(row.text for row in rows)),
        "cut_off": mean_known(row.finish == "length" for row in rows),
        "rejected": mean_known(row.rejected is not None for row in rows),
    }


def _calls(edit: ParsedEdit) -> list[tuple[str, object]]:
    return list(as_asked(edit.directives).items())


def directive_table(shapes: Sequence[dict[str, Any]]) -> Table:
    """What self-edits ask of their training: every choice a row, every policy a column."""
    policies = [one for one in shapes if one.get("asked")]
    calls = sorted({call for one in policies for call in one["asked"]})
    rows = [[call, *(one["asked"].get(call, 0.0) for one in policies)] for call in calls]
    columns = ["@train", *(Column(f"{one['policy']} %", "percent") for one in policies)]
    return Table.make("What self-edits ask of their training", columns, rows)


def mean_known(values: Iterable[float | None]) -> float | None:
    """The mean of what is there; None where nothing is."""
    known = [value for value in values if value is not None]
    return mean(known) if known else None
