"""``selfedit report``: pictures and a page of a run, or its tables as Markdown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from selfedit.cli.command import say
from selfedit.cli.output import print_json, write

if TYPE_CHECKING:
    from selfedit.results.results import Results


def report(
    run: Path,
    /,
    *more: Path,
    markdown: bool = False,
    into: Path | None = None,
    block: str | None = None,
    json: bool = False,
) -> None:
    """Write the pictures and a page of a run, finished or not, into its folder, and print their
    paths.

    With ``--markdown`` print a finished run's tables instead, published numbers beside ours; with
    ``--into`` rewrite them in a page. Several runs (seeds) with the same held-out passages give one
    table, as in `selfedit evaluate`.

    Args:
        run: the run's folder.
        more: further runs, with --markdown or --into.
        markdown: print the tables as Markdown; nothing is written.
        into: a Markdown page; its block of results is rewritten.
        block: the block's name in the page; the name of the run's folder if not given.
        json: print the paths as JSON.
    """
    if markdown or into is not None:
        _markdown([run, *more], into, block or run.resolve().name)
        return
    if more:
        from selfedit.errors import UsageError

        fix = "give one run, or ask for tables with --markdown or --into"
        raise UsageError(
            "pictures and a page are made of one run", where=", ".join(map(str, more)), fix=fix
        )
    from selfedit.report.folder import write_report

    written = write_report(run)
    if json:
        print_json({"page": written[0], "pictures": written[1:]})
        return
    for path in written:
        write(path)


def _markdown(runs: list[Path], into: Path | None, block: str) -> None:
    from selfedit.report.markdown import results_markdown, rewrite
    from selfedit.results.compare import pool_results

    results = [(str(run), _results_of_runs(run)) for run in runs]
    text = results_markdown(results[0][1] if len(runs) == 1 else pool_results(results))
    if into is None:
        sys.stdout.write(text)
        return
    rewrite(into, block, text)
    say(f"the block {block!r} of {into} holds the tables of {', '.join(map(str, runs))}")


def _results_of_runs(run: Path) -> Results:
    from selfedit.errors import RunFolderError
    from selfedit.results.results import Results
    from selfedit.run.folder import RunFolder

    with RunFolder.read(run) as opened:
        results = opened.results()
    if results is None:
        raise RunFolderError(
            "the run is not finished: it has no results yet", where=run, fix="let it go on first"
        )
    return Results.read(results)
