"""``selfedit launch``: a run through a scheduler of many machines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from selfedit.cli.command import say
from selfedit.cli.setting_options import option_name, overrides_from, with_settings
from selfedit.cli.verbs import example_of

launch = App(
    name="launch",
    help=(
        "A run through a scheduler of many machines.\n\nOne machine with several GPUs needs none:"
        " `--workers auto` does it."
    ),
    help_format="markdown",
    help_epilogue=example_of("launch"),
)


@launch.command(help_epilogue=example_of("launch"))
@with_settings(but=("engine.kind", "engine.address"))
def slurm(
    recipe: Path,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    experiment: str = "train",
    script: Path | None = None,
    nodes: int = 1,
    gpus: int = 1,
    cpus: int = 8,
    time: str = "24:00:00",
    option: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    submit: bool = False,
    **overrides: Any,
) -> None:
    """A batch script that runs a recipe on Slurm's nodes, over Ray.

    A head, workers on every node, and the run beside the head. At the end of its time it stores
    what is in hand, goes back into the queue and goes on where it stopped.

    Args:
        recipe: a TOML file with settings, or the name of one of ours (`selfedit recipes`).
        out: the run's folder, on a file system that the node of the run keeps; runs/RECIPE if not
            given.
        experiment: train, or a table of the paper (see selfedit experiment --help).
        script: where the script is written; RUN.sbatch beside the run's folder if not given.
        nodes: how many machines.
        gpus: GPUs of each machine; 0 for none.
        cpus: cores of each machine.
        time: the longest one turn may take (D-HH:MM:SS); the run goes on in the next.
        option: a further option of sbatch, such as account=lab; may be given several times.
        submit: give it to sbatch as well.
    """
    from selfedit.launch import slurm as scheduler
    from selfedit.storage.files import write_atomic

    folder = (out or Path("runs") / recipe.stem).absolute()
    command = _run_command(recipe, folder, experiment, overrides)
    job = scheduler.Job(
        name=f"selfedit-{recipe.stem}",
        nodes=nodes,
        gpus=gpus,
        cpus=cpus,
        time=time,
        output=folder.with_name(f"{folder.name}.slurm-%j.log"),
        options=option,
    )
    path = script or folder.with_name(f"{folder.name}.sbatch")
    text = scheduler.batch_script(command, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode())
    if not submit:
        say(f"written: {path}; to submit it: sbatch {path}")
        return
    say(scheduler.submit(path))
    say(f"what it prints: {job.output}; a page, at any time: selfedit report {folder}")


def _run_command(
    recipe: Path, folder: Path, experiment: str, overrides: Mapping[str, str | None]
) -> list[str]:
    """The command that the job runs.

    What is wrong with the recipe or its settings is said here, not when the job's turn has come.
    """
    from selfedit.config import read_settings
    from selfedit.errors import UsageError
    from selfedit.experiments.catalog import EXPERIMENTS

    read_settings(recipe, overrides_from(dict(overrides)))
    if experiment != "train" and experiment not in EXPERIMENTS:
        fix = f"choose train or one of {', '.join(sorted(EXPERIMENTS))}"
        raise UsageError(f"there is no experiment {experiment!r}", where="experiment", fix=fix)
    verb = ["train"] if experiment == "train" else ["experiment", experiment]
    # One of ours keeps its name: the nodes have selfedit, perhaps elsewhere.
    named = recipe.absolute() if recipe.exists() else recipe
    command = ["selfedit", *verb, "--recipe", str(named), "--out", str(folder)]
    for name, value in sorted(overrides.items()):
        if value is not None:
            command += [option_name(name.replace("__", ".")), value]
    return command
