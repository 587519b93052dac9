"""Held-out accuracy round by round, over seeds and groups of settings, with errors over passages
and policies at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selfedit.grading.inference import Crossed, Test, crossed, holm
from selfedit.results.by_settings import RunGroup
from selfedit.results.tabular import Cell, Column, Table

BEFORE = "own"
"""The method that stands for round 0."""
_AFTER = re.compile(r"seal(?:-(\d+))?")
Scores = Mapping[str, float]


@dataclass(frozen=True)
class Point:
    """A group after so many rounds.

    Attributes:
        group: its name.
        round: 0 is before RL.
        accuracy: over passages and policies.
        gain: on no RL, paired by policy and passage; None at round 0.
        step: on the round before; None at round 0, and at 1, where it is the gain.
        over_first: beyond the first group at the same round, paired likewise; None for that group,
            and where no seed is shared.
    """

    group: str
    round: int
    accuracy: Crossed
    gain: Crossed | None
    step: Crossed | None
    over_first: Crossed | None


def learning_curves(groups: Sequence[RunGroup]) -> list[Point]:
    """Every group round by round; groups without a method before RL, or after it, are left out."""
    points: list[Point] = []
    first: dict[int, dict[int, Scores]] = {}
    for group in groups:
        rounds = _scores_by_round(group)
        if len(rounds) < 2:
            continue
        for number, scores in rounds.items():
            shared = paired_gaps(scores, first.get(number, {})) if number else {}
            points.append(
                Point(
                    group.name,
                    number,
                    crossed(scores),
                    crossed(paired_gaps(scores, rounds[0])) if number else None,
                    crossed(paired_gaps(scores, rounds[number - 1]))
                    if number > 1 and number - 1 in rounds
                    else None,
                    crossed(shared) if shared else None,
                )
            )
        first = first or rounds
    return points


def _scores_by_round(group: RunGroup) -> dict[int, dict[int, Scores]]:
    """For each round, for each seed, the accuracy of each passage; rounds that every run has."""
    by_seed: dict[int, dict[int, Scores]] = {}
    for seed, results in group.runs.items():
        for method, scores in results.contexts.items():
            number = _round_of_method(method, results.settings.get("rl", {}).get("rounds", 1))
            if number is not None:
                by_seed.setdefault(number, {})[seed] = scores
    complete = {n: scores for n, scores in by_seed.items() if len(scores) == len(group.runs)}
    return dict(sorted(complete.items())) if 0 in complete else {}


def _round_of_method(method: str, rounds: int) -> int | None:
    if method == BEFORE:
        return 0
    after = _AFTER.fullmatch(method)
    return None if after is None else int(after[1] or rounds)


def paired_gaps(
    scores: Mapping[int, Scores], others: Mapping[int, Scores]
) -> dict[int, dict[str, float]]:
    """Differences on the passages and seeds that both have."""
    gaps: dict[int, dict[str, float]] = {}
    for seed in scores.keys() & others.keys():
        both = scores[seed].keys() & others[seed].keys()
        gaps[seed] = {name: scores[seed][name] - others[seed][name] for name in sorted(both)}
    return dict(sorted(gaps.items()))


def curve_table(points: Sequence[Point]) -> Table:
    """One table of all groups and rounds; p values are adjusted for all its comparisons (Holm)."""
    # One family: whoever looks for the best row looks at all of them.
    known: dict[tuple[int, str], float] = {}
    for at, point in enumerate(points):
        for name, test in (("gain", point.gain), ("first", point.over_first)):
            if test is not None and test.test.p is not None:
                known[at, name] = test.test.p
    adjusted = holm(known)
    rows: list[list[Cell]] = []
    for at, point in enumerate(points):
        means: Cell = (point.accuracy.test.difference, point.accuracy.test.se)
        counts: list[Cell] = [point.accuracy.policies, point.accuracy.passages]
        p_values: list[Cell] = [adjusted.get((at, name), "") for name in ("gain", "first")]
        gain: list[Cell] = [_gap(point.gain), interval(point.gain and point.gain.test), p_values[0]]
        rest: list[Cell] = [_gap(point.step), _gap(point.over_first), p_values[1]]
        rows.append([point.group or "self-edits", point.round, *counts, means, *gain, *rest])
    head = f"p (Holm, {len(adjusted)} comparisons)"
    columns = [
        "settings",
        "round",
        "policies",
        "passages",
        Column("accuracy % (se)", "percent"),
        Column("− no RL (se)", "points"),
        "95 % interval",
        Column(head, "number3"),
        Column("− the round before (se)", "points"),
        Column("− the first settings (se)", "points"),
        Column(head, "number3"),
    ]
    title = "Learning curves, errors over passages and policies at once"
    return Table.make(title, columns, rows)


def _gap(test: Crossed | None) -> Cell:
    return "" if test is None else (test.test.difference, test.test.se)


def interval(test: Test | None) -> str:
    """A 95 % interval in points."""
    if test is None or test.low is None or test.high is None:
        return ""
    return f"{100 * test.low:+.1f} to {100 * test.high:+.1f}"
