"""``selfedit train``: ReST-EM on passages, from a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from selfedit.cli.command import say, working_with
from selfedit.cli.dry_run import print_estimate
from selfedit.cli.output import print_run
from selfedit.cli.setting_options import overrides_from, with_settings
from selfedit.errors import SelfEditError

if TYPE_CHECKING:
    from selfedit.config import Settings


@with_settings(but=("arc",))
def train(
    *,
    recipe: Path | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    dry_run: bool = False,
    json: bool = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False,
    **overrides: Any,
) -> None:
    """Reinforcement learning of self-edits on your passages, measured before and after.

    It measures held-out passages, learns in rounds of ReST-EM, and measures again; on passages, or
    on a task of your own. Where there are fewer passages than rl.contexts and heldout_contexts ask
    for, it takes those there are and says so, unless you gave the number on the command line.

    The same command again goes on where it stopped. The settings are frozen in the run's folder at
    the first start; going on with others is an error that names them.

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

    typed = overrides_from(overrides)
    settings = read_settings(recipe, typed)
    folder = out or Path("runs") / (recipe.stem if recipe else "train")
    from selfedit.experiments.knowledge.train import knowledge_data, run_knowledge
    from selfedit.experiments.train import named_data, train_named
    from selfedit.rl.opening import check_named
    from selfedit.tasks.named import is_knowledge

    # What is wrong with the task or the data, before a model is fetched.
    passages = is_knowledge(settings)
    check = knowledge_data if passages else named_data
    settings = _of_what_there_is(settings, typed, dry_run=dry_run)
    if dry_run:
        print_estimate("train" if passages else settings.task, settings, check, json=json)
        return
    check_named(settings)
    check(settings)
    with working_with(settings.model, quiet=quiet) as options:
        if passages:
            results = run_knowledge(folder, settings, **options)
        else:
            results = train_named(folder, settings, **options).as_dict()
    print_run(results, folder, json=json)


def _of_what_there_is(settings: Settings, typed: Mapping[str, Any], *, dry_run: bool) -> Settings:
    """The settings with no more passages than there are; what came down is said."""
    from selfedit.experiments.fitting import fitted

    try:
        settings, fewer = fitted(settings, typed)
    except SelfEditError:
        # A dry run goes on, and says at its end what the data lack.
        if dry_run:
            return settings
        raise
    # Said one by one, before the progress: a run on fewer passages is another run.
    for words in fewer:
        say(words)
    return settings
