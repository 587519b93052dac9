"""A run's results as the tables that a person reads, the same ones on a terminal, in Markdown and
on a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfedit.grading.inference import Test, holm, t_test
from selfedit.grading.stats import Paired
from selfedit.results.curves import interval
from selfedit.results.names import method_name
from selfedit.results.policy_moved import round_tables
from selfedit.results.results import Difference, Reference, Results
from selfedit.results.second_grader import canary_row, two_graders_table
from selfedit.results.tabular import Cell, Column, Table, show_cell

HELD_OUT = "Held-out passages (n counts passages)"
_ABSENT: tuple[Cell, Cell, Cell] = ("", "", "")


def main_tables(results: Results, title: str = "") -> list[Table]:
    """The rows, and what was compared; published numbers in columns beside ours."""
    tables = [_main_rows(results, title)]
    return tables + ([_paired(results)] if results.paired else [])


def more_tables(results: Results) -> list[Table]:
    """All other tables that the results hold something for, in order."""
    tables = [
        _training_table(results),
        _task_table(results),
        two_graders_table(results),
        *results.tables,
    ]
    tables += [_order(results), *round_tables(results), _shapes(results)]
    return [table for table in tables if table is not None and table.rows]


def _main_rows(results: Results, title: str) -> Table:
    theirs = results.published.rows
    trials = bool(results.rows) and all("trials" in row.more for row in results.rows)
    columns = ["method", Column("accuracy %", "percent"), Column("se", "percent"), "n"]
    columns += [Column("published %", "percent"), Column("se", "percent"), "n"] if theirs else []
    columns += ["trials"] if trials else []
    rows: list[list[Cell]] = []
    for row in results.rows:
        cells: list[Cell] = [method_name(results.names, row.method), row.accuracy, row.se, row.n]
        cells += _beside_published(theirs.get(row.method)) if theirs else ()
        cells += [row.more["trials"]] if trials else []
        rows.append(cells)
    rows += canary_row(results, len(columns))
    return Table.make(title, columns, rows)


def _paired(results: Results) -> Table:
    theirs = results.published.paired
    columns = ["paired difference", Column("points", "points"), Column("se", "percent"), "n"]
    columns += [Column("published", "points"), Column("se", "percent"), "n"] if theirs else []
    if results.runs:
        columns += [f"each of {results.runs} runs", Column("se over runs", "percent")]
        columns += [Column("se over both", "percent"), "95 % interval"]
    tests = [_test_of(gap) for gap in results.paired]
    known = {at: test.p for at, test in enumerate(tests) if test.p is not None}
    adjusted = holm(known)
    columns += [Column(f"p (Holm, {len(known)})", "number3")] if known else []
    rows: list[list[Cell]] = []
    for at, gap in enumerate(results.paired):
        cells: list[Cell] = [f"{gap.a} − {gap.b}", gap.difference, gap.se, gap.n]
        cells += _beside_published(theirs.get((gap.b, gap.a))) if theirs else ()
        if results.runs:
            cells += [_each_run(gap), gap.se_runs, tests[at].se, interval(tests[at])]
        cells += [adjusted.get(at, "")] if known else []
        rows.append(cells)
    return Table.make("", columns, rows)


def _test_of(gap: Difference) -> Test:
    """Over contexts and runs where there are several runs, else over contexts."""
    return gap.both or t_test(Paired(gap.difference, gap.se, gap.n))


def notes_of(results: Results) -> list[str]:
    """What has to be said beside the tables, what their p values are among it."""
    notes = list(results.notes)
    if results.paired and results.runs:
        notes.append(
            "Intervals and p values have an error over contexts and runs (policies) at once; p is"
            f" two-sided, Student's, adjusted for {len(results.paired)} comparisons (Holm)."
        )
    elif results.paired:
        notes.append(
            "p is that of a two-sided paired t test over contexts, adjusted for"
            f" {len(results.paired)} comparisons (Holm)."
        )
    trained = any(row.method.startswith("seal") for row in results.rows)
    if results.paired and trained and not results.runs:
        notes.append(
            "One policy was trained: a difference with it holds for this policy, and seeds differ."
        )
    return notes


def _each_run(gap: Difference) -> str:
    return ", ".join(show_cell(one, "points") for one in gap.by_run)


def _beside_published(reference: Reference | None) -> Sequence[Cell]:
    if reference is None:
        return _ABSENT
    return reference.value, "" if reference.se is None else reference.se, reference.n


def _training_table(results: Results) -> Table | None:
    """The trainings of whole models, by method."""
    trainings: dict[str, list[dict[str, Any]]] = results.more.get("training", {})
    rows: list[list[Cell]] = []
    for method, runs in trainings.items():
        for run in runs:
            rows.append(
                [
                    method,
                    run["documents"],
                    run["steps"],
                    run["tokens"],
                    run["losses"][0],
                    run["losses"][-1],
                ]
            )
    losses = [Column("first loss", "number3"), Column("last loss", "number3")]
    return Table.make("", ["trained on", "documents", "steps", "tokens", *losses], rows)


def _task_table(results: Results) -> Table | None:
    """Each held-out task with the share of its trials that solved it."""
    if "tasks" not in results.more:
        return None
    methods, scores = [row.method for row in results.rows], results.scores
    rows: list[list[Cell]] = []
    for name in results.more["tasks"]["heldout"]:
        rows.append([name, *(scores.get(method, {}).get(name) for method in methods)])
    return Table.make(
        "", ["held-out task, solved %", *(Column(method, "percent") for method in methods)], rows
    )


def _order(results: Results) -> Table:
    """Step by step of the published order, whether it holds here, and the difference over its
    standard error.
    """
    columns = ["step of the published order", "holds here", Column("difference / se", "signed1")]
    rows: list[list[Cell]] = []
    for step in results.more.get("order", ()):
        rows.append([f"{step['from']} < {step['to']}", "yes" if step["holds"] else "no", step["z"]])
    return Table.make("Does the published order hold?", columns, rows)


def _shapes(results: Results) -> Table:
    """What each policy's self-edits look like, as means over them."""
    columns = [
        "self-edits",
        "n",
        Column("tokens", "number0"),
        Column("lines", "number1"),
        Column("lines with one fact", "number2"),
        Column("lexical diversity", "number2"),
        Column("compression ratio", "number2"),
    ]
    means = ("tokens", "facts", "single_fact", "diversity", "compression")
    rows: list[list[Cell]] = []
    for shape in results.more.get("self_edits", ()):
        rows.append([shape["policy"], shape["n"], *(shape.get(name) for name in means)])
    return Table.make("What self-edits look like", columns, rows)
