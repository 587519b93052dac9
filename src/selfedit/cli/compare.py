"""``selfedit compare``: runs with different settings on the same passages, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from selfedit.cli.command import say
from selfedit.cli.output import print_json, print_results_table, write
from selfedit.errors import UsageError

if TYPE_CHECKING:
    from selfedit.results.results import Results
    from selfedit.results.side_by_side import Policies
    from selfedit.results.tabular import Table
    from selfedit.run.folder import RunFolder


def compare(
    first: Path,
    second: Path,
    /,
    *more: Path,
    method: str = "own",
    into: Path | None = None,
    block: str = "compare",
    json: bool = False,
) -> None:
    """Runs with different settings on the same passages, paired with the first.

    One method of each run is compared with the first run's, over the passages that all have.

    Runs that differ only in their seed are policies of one row, and its errors are over passages
    and policies at once, paired seed by seed. Which settings differ stands below the table.

    Args:
        first: the folder of the run that the others are compared with; further seeds of it count
            with it.
        second: another run's folder.
        more: further ones.
        method: the row of their tables that is compared: own, seal, passage, ...
        into: a Markdown page; its block of results is rewritten.
        block: the block's name in the page.
        json: print it as JSON.
    """
    from selfedit.results.side_by_side import as_table, side_by_side
    from selfedit.run.folder import RunFolder
    from selfedit.run.settings import described

    runs: list[tuple[str, Results]] = []
    seconds: dict[str, float | None] = {}
    changes: dict[str, list[str]] = {}
    with RunFolder.read(first) as opened:
        base = opened.settings
    for folder in (first, second, *more):
        name = str(folder)
        if name in seconds:
            raise UsageError("the same run is named twice", where=name, fix="name each run once")
        with RunFolder.read(folder) as run:
            runs.append((name, _results(run, folder, method)))
            seconds[name] = _seconds(run)
            changes[name] = described(base, run.settings)
    rows = _policies_by_row(runs, method)
    if len(rows) < 2:
        fix = "give runs of other settings too; the table of seeds alone: selfedit evaluate RUN RUN"
        raise UsageError("these runs differ in their seed only", where=str(first), fix=fix)
    compared = side_by_side(rows, seconds)
    if json:
        rows = [one.as_dict() | {"changed": changes[one.run]} for one in compared]
        print_json({"method": method, "runs": rows})
        return
    notes = [
        f"{name}: {'; '.join(changed) or 'the same settings'}"
        for name, changed in list(changes.items())[1:]
    ]
    _show(as_table(compared, method), notes, into, block)


def _show(table: Table, notes: list[str], into: Path | None, block: str) -> None:
    """On the terminal, or in a page's block."""
    if into is not None:
        from selfedit.report.markdown import rewrite, table_with_notes

        rewrite(into, block, table_with_notes(table, notes))
        say(f"the block {block!r} of {into} holds the comparison")
        return
    print_results_table(table)
    for note in notes:
        write(note)


def _policies_by_row(runs: list[tuple[str, Results]], method: str) -> dict[str, Policies]:
    """Rows by the name of their first run."""
    from selfedit.results.by_settings import groups_of

    rows: dict[str, Policies] = {}
    for group in groups_of(runs):
        policies = {seed: dict(one.contexts[method]) for seed, one in group.runs.items()}
        rows[group.first] = policies
    return rows


def _results(run: RunFolder, folder: Path, method: str) -> Results:
    """A finished run's results with its folder's settings."""
    from dataclasses import replace

    from selfedit.results.results import Results

    stored = run.results()
    if stored is None:
        raise UsageError(
            "the run is not finished", where=folder, fix="start its command again to go on with it"
        )
    results = replace(Results.read(stored), settings=run.settings)
    if method not in results.contexts:
        known = ", ".join(results.contexts) or "none: it has no table of methods"
        raise UsageError(
            f"the run has no method {method!r}",
            where=folder,
            fix=f"choose with --method among {known}",
        )
    return results


def _seconds(run: RunFolder) -> float | None:
    """Seconds that an inner loop took to train, over all of the run."""
    rows = [row for row in run.ledger.timings() if row.part == "adapting"]
    count = sum(row.count for row in rows)
    return sum(row.seconds for row in rows) / count if count else None
