"""``selfedit compare``: runs with different settings on the same passages, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from selfedit.cli.output import print_json, print_results_table, write
from selfedit.errors import UsageError

if TYPE_CHECKING:
    from selfedit.run.folder import RunFolder


def compare(
    first: Path, second: Path, /, *more: Path, method: str = "own", json: bool = False
) -> None:
    """Compare one method of several runs with the first run's, paired over the passages all have.

    Which settings differ stands below the table. Runs that differ only in their seed are one table
    of `selfedit evaluate RUN RUN...`.

    Args:
        first: the folder of the run that the others are compared with.
        second: another run's folder.
        more: further ones.
        method: the row of their tables that is compared: own, seal, passage, ...
        json: print it as JSON.
    """
    from selfedit.results.side_by_side import as_table, side_by_side
    from selfedit.run.folder import RunFolder
    from selfedit.run.settings import described

    scores: dict[str, dict[str, float]] = {}
    seconds: dict[str, float | None] = {}
    changes: dict[str, list[str]] = {}
    with RunFolder.read(first) as opened:
        base = opened.settings
    for folder in (first, second, *more):
        name = str(folder)
        if name in scores:
            raise UsageError("the same run is named twice", where=name, fix="name each run once")
        with RunFolder.read(folder) as run:
            scores[name] = _scores(run, folder, method)
            seconds[name] = _seconds(run)
            changes[name] = described(base, run.settings)
    compared = side_by_side(scores, seconds)
    if json:
        rows = [one.as_dict() | {"changed": changes[one.run]} for one in compared]
        print_json({"method": method, "runs": rows})
        return
    print_results_table(as_table(compared, method))
    for name, changed in list(changes.items())[1:]:
        write(f"{name}: {'; '.join(changed) or 'the same settings'}")


def _scores(run: RunFolder, folder: Path, method: str) -> dict[str, float]:
    from selfedit.results.results import Results

    stored = run.results()
    if stored is None:
        raise UsageError(
            "the run is not finished", where=folder, fix="start its command again to go on with it"
        )
    contexts = Results.read(stored).contexts or {}
    if method not in contexts:
        methods = ", ".join(contexts) or "none: it has no table of methods"
        fix = f"choose with --method among {methods}"
        raise UsageError(f"the run has no method {method!r}", where=folder, fix=fix)
    return dict(contexts[method])


def _seconds(run: RunFolder) -> float | None:
    """Seconds that an inner loop took to train, over all of the run."""
    rows = [row for row in run.ledger.timings() if row.part == "adapting"]
    count = sum(row.count for row in rows)
    return sum(row.seconds for row in rows) / count if count else None
