"""``bench racing``: does racing keep the same self-edits as all repeats for all, and how many inner
loops does it save?

From the ledger of a finished run, every answer counted as right or wrong, in one of two ways:

- *stored*: the run has two repeats or more of every candidate; the race is run over them;
- *simulated*: for every candidate and question a chance of being answered, from the run's own
  answers (drawn towards the question's mean by one pseudo-answer), and from those any number of
  repeats, drawn many times over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from selfedit.config import RewardSettings, make_settings
from selfedit.errors import DataError, RunFolderError
from selfedit.grading.stats import clustered
from selfedit.rl.race_chances import Repeats
from selfedit.rl.racing import accuracies_by_repeat, next_stage, raced_rewards, start
from selfedit.rl.rounds import rl_place
from selfedit.rl.selection import rewards
from selfedit.rl.trial import marks_of
from selfedit.run.folder import RunFolder
from selfedit.run.records import Phase, Trial
from selfedit.run.seeds import derive


@dataclass(frozen=True)
class Raced:
    """One context's race: whether the same candidates were kept, and how many inner loops it ran of
    how many.
    """

    context: str
    same: bool
    loops: int
    of: int


def bench_racing(
    folders: Sequence[Path],
    *,
    repeats: int = 3,
    draws: int = 200,
    doubt: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Shares of contexts with an equal kept set, and inner loops saved, over all rounds of the
    runs.

    Args:
        folders: runs.
        repeats: of each candidate, in the simulation.
        draws: simulated rounds for each stored one.
        doubt: ``rl.racing_doubt``; None takes each run's own.
        seed: of the simulation.

    Raises:
        RunFolderError: a folder is no run, or has no scored round.
    """
    stored: list[Raced] = []
    simulated: list[Raced] = []
    for folder in folders:
        with RunFolder.read(folder) as run:
            settings = make_settings(
                {k: v for k, v in run.settings.items() if k != "data"}, where=run.path
            )
            rounds = [
                p.round for p in run.ledger.places() if p.phase is Phase.RL and p.round is not None
            ]
            scored = [
                n
                for n in rounds
                if run.ledger.rewards(rl_place(n)) and settings.rl.reward.signal == "accuracy"
            ]
            chosen = [(n, _with_verdicts(run.ledger.trials(rl_place(n)))) for n in scored]
        if not chosen:
            raise RunFolderError(
                "no round is scored by right answers yet",
                where=folder,
                fix="let the run go on first",
            )
        allowed = settings.rl.racing_doubt if doubt is None else doubt
        for number, rows in chosen:
            name = f"{folder.name} round {number}"
            measured = accuracies_by_repeat(marks_of(rows))
            counts = {len(own) for of_context in measured.values() for own in of_context.values()}
            if min(counts) == max(counts) >= 2:
                stored += _race(
                    name, _bases(rows), measured, max(counts), settings.rl.reward, allowed
                )
            for draw in range(draws):
                random = np.random.default_rng(derive(seed, "racing", name, draw))
                drawn = _draw(_marks(rows), repeats, random)
                simulated += _race(name, _bases(rows), drawn, repeats, settings.rl.reward, allowed)
    return {
        "benchmark": "racing",
        "runs": [folder.name for folder in folders],
        "repeats": repeats,
        "draws": draws,
        "stored": _summary(stored) if stored else None,
        "simulated": _summary(simulated),
    }


def _race(
    name: str,
    bases: Mapping[str, tuple[float, int]],
    repeats: Mapping[str, Repeats],
    total: int,
    settings: RewardSettings,
    doubt: float,
) -> list[Raced]:
    """One round raced over scores that are all known, beside the same round without racing."""
    candidates = len(next(iter(repeats.values())))
    races = start({context: bases[context] for context in repeats}, candidates)
    ran = {context: dict.fromkeys(own, 0) for context, own in repeats.items()}
    for repeat in range(total):
        for context, race in races.items():
            for candidate in race.running:
                ran[context][candidate] = repeat + 1
        if repeat + 1 < total:
            seen = {c: {k: own[k][: ran[c][k]] for k in own} for c, own in repeats.items()}
            races = next_stage(races, seen, total, settings, doubt)
    found = []
    for context, own in repeats.items():
        baseline = bases[context][0]
        full = rewards([fmean(own[c]) for c in range(candidates)], baseline, settings)
        reached = [fmean(own[c][: ran[context][c]]) for c in range(candidates)]
        raced = raced_rewards(reached, baseline, settings, races[context].alive)
        same = [kept for _, kept in full] == [kept for _, kept in raced]
        found.append(
            Raced(f"{name} {context}", same, sum(ran[context].values()), total * candidates)
        )
    return found


def _summary(races: Sequence[Raced]) -> dict[str, Any]:
    """Means over contexts; the standard error is over contexts, whose draws are not independent of
    each other.
    """
    same: dict[str, list[float]] = defaultdict(list)
    for race in races:
        same[race.context].append(float(race.same))
    share = clustered(same)
    saved = 1 - sum(race.loops for race in races) / sum(race.of for race in races)
    return {"same": share.mean, "se": share.se, "n": share.n, "saved": saved, "races": len(races)}


def _with_verdicts(trials: Sequence[Trial]) -> list[Trial]:
    """The trials of contexts that have a verdict on each answer; others would be decided by what is
    missing.
    """
    without = {
        trial.context_id for trial in trials for answer in trial.answers if answer.correct is None
    }
    return [trial for trial in trials if trial.context_id not in without]


def _bases(trials: Sequence[Trial]) -> dict[str, tuple[float, int]]:
    marks = {
        key.context_id: counted
        for key, counted in marks_of(trials).items()
        if key.candidate is None
    }
    return {context: (fmean(counted), len(counted)) for context, counted in marks.items()}


def _marks(trials: Sequence[Trial]) -> dict[str, np.ndarray]:
    """For each context the chance of every candidate and question, ``[candidates, questions]``."""
    marks: dict[str, dict[tuple[int, str], list[bool]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        for answer in trial.answers:
            if trial.candidate is not None:
                marks[trial.context_id][trial.candidate, answer.question_id].append(
                    bool(answer.correct)
                )
    return {context: _chances(of_context) for context, of_context in marks.items()}


def _chances(marks: Mapping[tuple[int, str], Sequence[bool]]) -> np.ndarray:
    candidates, questions = sorted({c for c, _ in marks}), sorted({q for _, q in marks})
    if len(marks) != len(candidates) * len(questions):
        raise DataError("a candidate did not answer every question", where="ledger")
    right = np.array([[sum(marks[c, q]) for q in questions] for c in candidates], dtype=float)
    asked = np.array([[len(marks[c, q]) for q in questions] for c in candidates], dtype=float)
    question = right.sum(0) / asked.sum(0)
    return (right + question) / (asked + 1)


def _draw(
    chances: Mapping[str, np.ndarray], repeats: int, random: np.random.Generator
) -> dict[str, dict[int, list[float]]]:
    """Accuracies of every candidate in every repeat."""
    drawn = {}
    for context, chance in chances.items():
        right = random.random((repeats, *chance.shape)) < chance  # [R, M, Q]
        accuracy = right.mean(2)  # [R, M]
        drawn[context] = {c: accuracy[:, c].tolist() for c in range(chance.shape[0])}
    return drawn
