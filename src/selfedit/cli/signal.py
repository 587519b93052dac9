"""``selfedit signal``: how much of a run's reward is signal, per inner loop spent."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from selfedit.cli.output import print_json, print_results_table, write


def signal(run: Path, /, *, json: bool = False) -> None:
    """Print the reliability of a run's reward, round by round: the share of its variance within
    contexts that is between self-edits.

    It needs two or more repeats of each self-edit (rl.repeats), and counts right and wrong answers;
    in few-shot ARC those of single prompts, before the vote.

    Args:
        run: the run's folder, finished or not.
        json: print it as JSON.
    """
    from selfedit.errors import DataError
    from selfedit.results.tabular import Cell, Column, Table
    from selfedit.rl.signal import loop_signal
    from selfedit.run.folder import RunFolder
    from selfedit.run.records import Phase

    with RunFolder.read(run) as opened:
        ledger = opened.ledger
        e_steps = (stage for stage in ledger.places() if stage.phase is Phase.RL)
        rounds = {stage.round: loop_signal(ledger.trials(stage)) for stage in e_steps}
    usable = {number: one for number, one in rounds.items() if one.contexts}
    if not usable:
        fix = "give a run of rl.repeats ≥ 2 (without racing) whose first round has been tried"
        raise DataError("no self-edit was tried more than once", where=run, fix=fix)
    if json:
        print_json({str(n): asdict(one) | {"per_loop": one.per_loop} for n, one in usable.items()})
        return
    shares = ("reliability of one inner loop %", "of their mean %", "per inner loop %")
    columns = ["round", "contexts", "without differences", "inner loops a self-edit"]
    rows: list[list[Cell]] = [
        [str(number), one.contexts, one.flat, one.loops, one.one, one.mean, one.per_loop]
        for number, one in usable.items()
    ]
    table = Table.make("", [*columns, *(Column(name, "percent") for name in shares)], rows)
    print_results_table(table)
    write("Reliability: the share of the reward's variance within contexts that is signal.")
