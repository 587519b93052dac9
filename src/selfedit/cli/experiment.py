"""``selfedit experiment``: one of the paper's tables, from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from selfedit.cli.command import working_with
from selfedit.cli.dry_run import print_estimate
from selfedit.cli.output import print_run
from selfedit.cli.setting_options import overrides_from, with_settings
from selfedit.experiments.catalog import EXPERIMENTS, find_experiment

_NAMED_WITH_ABOUT = "\n".join(f"- {name}: {one.about}" for name, one in EXPERIMENTS.items())


@with_settings()
def experiment(
    name: Annotated[
        str, Parameter(help=_NAMED_WITH_ABOUT, choices=tuple(EXPERIMENTS), show_choices=False)
    ],
    /,
    *,
    recipe: Path | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    dry_run: bool = False,
    json: bool = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False,
    **overrides: Any,
) -> None:
    """One of the paper's tables, from a recipe.

    The same command again goes on where it stopped.

    Args:
        recipe: a TOML file with settings, or the name of one of ours (`selfedit recipes`);
            what it leaves out has its default.
        out: the run's folder; runs/RECIPE if not given.
        dry_run: run nothing: print how much work it is, and the minutes that SmolLM2-135M takes on
            two cores.
        json: print the results as JSON.
        quiet: no progress.
    """
    from selfedit.config import read_settings
    from selfedit.rl.opening import check_named

    chosen = find_experiment(name)
    settings = read_settings(recipe, overrides_from(overrides))
    if dry_run:
        print_estimate(name, settings, chosen.check_data, json=json)
        return
    folder = out or Path("runs") / (recipe.stem if recipe else name)
    check_named(settings)
    chosen.check_data(settings)  # what is wrong with it, before a model is fetched
    with working_with(settings.model, quiet=quiet) as options:
        results = chosen.load()(folder, settings, **options)
    print_run(results, folder, json=json)
