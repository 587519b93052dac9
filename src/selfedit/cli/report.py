"""``selfedit report``: pictures and a page of a run, or its tables as Markdown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from selfedit.cli.command import say
from selfedit.cli.output import print_json, write
from selfedit.errors import RunFolderError, UsageError

if TYPE_CHECKING:
    from selfedit.results.results import Results


def report(
    run: Path,
    /,
    *more: Path,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    markdown: bool = False,
    into: Path | None = None,
    block: str | None = None,
    short: bool = False,
    json: bool = False,
) -> None:
    """Pictures and a page of a run, the learning curves of several, or their tables as Markdown.

    Of a run, finished or not, the pictures and the page are written into its folder or another, and
    their paths printed; of several runs, their learning curves are printed as a table and drawn.

    With ``--markdown`` print a finished run's tables instead, published numbers beside ours; with
    ``--into`` rewrite them in a page. Several runs (seeds) with the same held-out passages give one
    table, with errors over passages and policies at once; runs of other settings are rows of the
    learning curves.

    Args:
        run: the run's folder.
        more: further runs: seeds, other settings, or both.
        out: the folder of pictures and page; report in the run's folder if not given.
        markdown: print the tables as Markdown; nothing is written.
        into: a Markdown page; its block of results is rewritten.
        block: the block's name in the page; the name of the run's folder if not given.
        short: with --markdown or --into: the rows and the differences alone.
        json: print the paths, or several runs' curves, as JSON.
    """
    if markdown or into is not None:
        if out is not None:
            what, fix = "--out is where pictures and a page go", "leave --out or --markdown, --into"
            raise UsageError(what, where=str(out), fix=fix)
        _print_markdown([run, *more], into, block or run.resolve().name, short)
        return
    if more:
        _curves([run, *more], out, json)
        return
    from selfedit.report.folder import write_report

    written = write_report(run, out)
    if json:
        print_json({"page": written[0], "pictures": written[1:]})
        return
    for path in written:
        write(path)


def _print_markdown(runs: list[Path], into: Path | None, block: str, short: bool) -> None:
    from selfedit.report.markdown import results_markdown, rewrite
    from selfedit.results.by_settings import groups_of
    from selfedit.results.compare import pool_results
    from selfedit.results.curves import curve_table, learning_curves

    results = [(str(run), _results_of_run(run)) for run in runs]
    groups = groups_of(results)
    points = learning_curves(groups) if len(runs) > 1 else []
    tables = [curve_table(points)] if points else []
    first = [(str(seed), of_seed) for seed, of_seed in groups[0].runs.items()]
    table = results[0][1] if len(first) == 1 else pool_results(first)
    text = results_markdown(table, tables, short=short)
    if into is None:
        sys.stdout.write(text)
        return
    rewrite(into, block, text)
    say(f"the block {block!r} of {into} holds the tables of {', '.join(map(str, runs))}")


def _curves(runs: list[Path], out: Path | None, json: bool) -> None:
    """The learning curves of several runs: a table, and a picture in ``out`` or the first run's
    folder.
    """
    from dataclasses import asdict

    from selfedit.cli.output import print_results_table
    from selfedit.report.curve_picture import curve_picture
    from selfedit.report.drawing import save
    from selfedit.results.by_settings import groups_of
    from selfedit.results.curves import curve_table, learning_curves

    points = learning_curves(groups_of([(str(run), _results_of_run(run)) for run in runs]))
    if not points:
        fix = (
            "give runs that measured own and seal (eval.methods), or ask for tables with"
            " --markdown or --into"
        )
        raise UsageError(
            "these runs have no learning curve", where=", ".join(map(str, runs)), fix=fix
        )
    picture = save(curve_picture(points), (out or runs[0] / "report") / "learning-curves.png")
    if json:
        print_json({"points": list(map(asdict, points)), "picture": picture})
        return
    print_results_table(curve_table(points))
    write(picture)


def _results_of_run(run: Path) -> Results:
    from selfedit.results.results import Results
    from selfedit.run.folder import RunFolder

    with RunFolder.read(run) as opened:
        results = opened.results()
    if results is None:
        raise RunFolderError(
            "the run is not finished: it has no results yet", where=run, fix="let it go on first"
        )
    return Results.read(results)
