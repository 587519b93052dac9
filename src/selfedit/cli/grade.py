"""``selfedit grade``: how far a grader agrees with labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfedit.cli.command import say
from selfedit.cli.output import percent, print_json, print_table
from selfedit.cli.setting_options import overrides_from, with_settings


@with_settings("judge")
def grade(
    file: Path,
    /,
    *,
    grader: str = "calibrated",
    folds: int | None = None,
    json: bool = False,
    **overrides: Any,
) -> None:
    """How far a grader agrees with the labels of a file, on questions it has not seen.

    It grades the replies and prints agreement, Cohen's kappa and bias (rate of yes minus the
    labels'), with errors.

    The fitted grader is held to questions it has not seen: those it was fitted on are left out, or,
    where there are no others, graders are fitted on the file itself in folds that share no
    question. Standard errors are over questions.

    Args:
        file: JSON lines or an array (.gz too): question, gold, prediction, and votes_yes with
            votes, or label.
        grader: calibrated, concise, contains, exact, f1 or judge.
        folds: calibrated: fit on the file in so many folds; 0 takes the grader that comes with
            selfedit as it is.
        json: print JSON.
    """
    from selfedit.config import read_settings
    from selfedit.grading.grade_file import grade_file
    from selfedit.grading.grader import get_grader

    settings = read_settings(overrides=overrides_from(overrides))
    results = grade_file(file, get_grader(grader, settings.judge), folds)
    if json:
        print_json(results)
        return
    row = [
        f"{grader} ({results['how']})",
        f"{percent(results['agreement'])} ± {percent(results['agreement_se'])}",
    ]
    row += [_number(results["kappa"], results["kappa_se"])]
    row += [
        f"{percent(results['bias'], signed=True)} ± {percent(results['bias_se'])}",
        str(results["n"]),
    ]
    print_table(["grader", "agreement %", "kappa", "bias (points)", "n"], [row])
    counts = (
        f"{results['false_yes']} false yes, {results['false_no']} false no, {results['no_verdict']}"
        " without a verdict"
    )
    say(f"errors over {results['groups']} groups of questions; {counts}")
    if "judge" in results:
        bill = results["judge"]["bill"]
        spent = "unknown (set the prices)" if bill["spent"] is None else f"{bill['spent']:.4f}"
        say(
            f"{bill['fetched']} verdicts asked for now, {bill['replies']} in all;"
            f" spent now: {spent}"
        )


def _number(value: float, error: float | None) -> str:
    return f"{value:.3f} ± {'?' if error is None else f'{error:.3f}'}"
