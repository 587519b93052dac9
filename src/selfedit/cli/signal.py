"""``selfedit signal``: how much of a run's reward is signal, per inner loop spent."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from selfedit.cli.output import print_json, print_results_table, write

if TYPE_CHECKING:
    from selfedit.rl.signal import LoopSignal
    from selfedit.rl.signal_ratio import SignalRatio
    from selfedit.run.records import Trial


def signal(run: Path, off: Path | None = None, /, *, json: bool = False) -> None:
    """How much of a run's reward is signal, per inner loop spent.

    It prints the reliability of the reward, round by round: the share of its variance within
    contexts that is between self-edits; and of two runs, how many times as reliable the first one's
    is per inner loop.

    It needs two or more repeats of each self-edit (rl.repeats), and counts right and wrong answers;
    in few-shot ARC those of single prompts, before the vote.

    Args:
        run: the run's folder, finished or not; of two, the one with less noise (rl.common, ...).
        off: the run without it.
        json: print it as JSON.
    """
    from selfedit.results.tabular import Cell, Column, Table
    from selfedit.rl.signal_ratio import signal_ratio

    trials, signals = {}, {}
    for folder in (run, off):
        if folder is not None:
            trials[folder], signals[folder] = _tried_rounds(folder)
    ratio = None if off is None else signal_ratio(trials[run], trials[off])
    if json:
        first = signals[run]
        stored = {str(n): asdict(one) | {"per_loop": one.per_loop} for n, one in first.items()}
        print_json(stored if ratio is None else {"rounds": stored, "ratio": asdict(ratio)})
        return
    rows: list[list[Cell]] = []
    for folder, of_run in signals.items():
        for number, one in of_run.items():
            name = str(number) if off is None else f"{folder}, {number}"
            counts: list[Cell] = [name, one.contexts, one.flat, one.loops]
            rows.append([*counts, one.one, one.mean, (one.per_loop, one.se)])
    shares = ("reliability of one inner loop %", "of their mean %", "per inner loop % (se)")
    columns = ["round", "contexts", "without differences", "inner loops a self-edit"]
    heads = [*columns, *(Column(name, "percent") for name in shares)]
    print_results_table(Table.make("", heads, rows))
    write("Reliability: the share of the reward's variance within contexts that is signal.")
    if ratio is not None:
        write(_ratio_sentence(ratio))


def _ratio_sentence(ratio: SignalRatio) -> str:
    if ratio.ratio is None:
        return "On over off: not known, since one of the two runs shows no signal."
    error = "?" if ratio.se is None else f"{ratio.se:.2f}"
    pairing = "the same contexts in both" if ratio.paired else "other contexts in each"
    return f"On over off, per inner loop: {ratio.ratio:.2f} ± {error} (jackknife, {pairing})."


def _tried_rounds(run: Path) -> tuple[dict[int, list[Trial]], dict[int, LoopSignal]]:
    """The trials of each round that has some of self-edits tried more than once, and what of their
    reward is signal.

    Raises:
        DataError: none has.
    """
    from selfedit.errors import DataError
    from selfedit.rl.signal import loop_signal
    from selfedit.run.folder import RunFolder
    from selfedit.run.records import Phase

    with RunFolder.read(run) as opened:
        ledger = opened.ledger
        usable: dict[int, list[Trial]] = {}
        signals: dict[int, LoopSignal] = {}
        for stage in ledger.places():
            trials = ledger.trials(stage) if stage.phase is Phase.RL else []
            # A round that was raced, or is at its beginning, tells nothing.
            measured = loop_signal(trials)
            if measured.contexts:
                usable[stage.round or 0] = trials
                signals[stage.round or 0] = measured
    if not usable:
        fix = "give a run of rl.repeats ≥ 2 (without racing) whose first round has been tried"
        raise DataError("no self-edit was tried more than once", where=run, fix=fix)
    return usable, signals
