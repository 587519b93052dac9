"""``selfedit demo``: the whole loop on the project's own invented passages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from selfedit.cli.command import say, working_with
from selfedit.cli.output import print_json, print_results, write


def demo(
    *,
    minutes: float = 20,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("runs/demo"),
    seed: int = 0,
    model: str = "smollm2-135m",
    json: bool = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False,
) -> None:
    """The whole loop, small, on invented passages.

    A small model reads them, writes its own training data, and learns which of it helps.

    Args:
        minutes: the time to plan for on two cores; it scales passages, self-edits and repeats.
        out: the run's folder; the same command again goes on where it stopped.
        seed: every random number comes from it.
        model: another model; the times are those of the default one.
        json: print the results as JSON.
        quiet: no progress.
    """
    from selfedit.errors import UsageError
    from selfedit.experiments.demo import demo_settings, plan

    if not 0 < minutes < float("inf"):
        raise UsageError(f"the minutes must be more than 0, not {minutes}", where="--minutes")
    size = plan(minutes)
    settings = demo_settings(size, seed=seed, model=model)
    say(
        f"{size.rounds} round(s) of {size.contexts} passages × {size.candidates} self-edits ×"
        f" {size.repeats} inner loops, then {size.heldout} held-out passages; about"
        f" {size.seconds / 60:.0f} minutes on two cores"
    )
    with working_with(settings.model, quiet=quiet) as options:
        from selfedit.experiments.knowledge.train import run_knowledge

        results = run_knowledge(out, settings, **options)
    from selfedit.report.folder import write_report

    _, *pictures = write_report(out)
    if json:
        print_json(results)
        return
    print_results(results)
    _print_edits(out)
    write(f"results:  {out / 'results.json'}")
    for picture in pictures:
        write(f"picture:  {picture}")
    write(_next(out, minutes, results))


def _print_edits(folder: Path) -> None:
    """The first held-out passage's self-edit before and after RL."""
    from selfedit.rl.evaluate import held_out
    from selfedit.run.folder import RunFolder

    with RunFolder.read(folder) as run:
        for method, name in (("own", "before RL"), ("seal", "after RL")):
            if rows := run.ledger.self_edits(held_out(method)):
                write(f"A self-edit {name} ({rows[0].context_id}):")
                write("\n".join(f"    {line}" for line in rows[0].text.splitlines()))
                write()


def _next(folder: Path, minutes: float, results: dict[str, Any]) -> str:
    few = max((row["n"] for row in results["rows"]), default=0)
    return (
        f"\nWith n = {few} passages these differences are rough: look at their standard errors."
        f" What to try next:\n  selfedit report {folder}                       a page with"
        f" everything above\n  selfedit demo --minutes {3 * minutes:g} -o runs/longer     more"
        " passages, self-edits and repeats\n  selfedit adapt smollm2-135m YOUR.md -o yours/      "
        " your own document into an adapter"
    )
