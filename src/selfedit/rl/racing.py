"""Racing: repeats go only to candidates about which they can still decide something.

Successive halving over repeats (after Jamieson and Talwalkar 2016, arXiv 1502.07943), with a bound
instead of a fixed
half: after every repeat a candidate leaves once the chance that it would be kept in the end is
small, and a candidate that is sure to be kept needs no more repeats either. The chances come from a
normal model whose two variances are
estimated from the round itself: of a candidate's true accuracy within a context (τ²), and of one
repeat around it (σ²). Over all stages and rivals of a context they add up to at most
``rl.racing_doubt``; `selfedit bench racing` measures how often the kept set is then another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

from selfedit.config import RewardSettings
from selfedit.rl.race_chances import Race, Repeats, Spread, chance_above, chance_overtakes, spread
from selfedit.rl.scoring import run_trials
from selfedit.rl.selection import rewards
from selfedit.rl.session import Session
from selfedit.rl.trial import PlannedTrial, marks_of
from selfedit.run.records import Place, TrialKey


def advance(
    race: Race, total: int, settings: RewardSettings, variances: Spread, doubt: float
) -> Race:
    """The race after its latest repeat of ``total``; where a judge gave no verdict yet, nothing is
    decided.

    Args:
        race: every running candidate has run the latest repeat.
        total: repeats without racing.
        settings: which candidates are kept in the end.
        variances: the round's variances.
        doubt: chance of a wrong decision that this stage may spend on this context.
    """
    # Not all have run this repeat, or there is nothing to beat: everybody stays.
    if math.isnan(race.baseline) or not race.alive <= race.repeats.keys():
        return race
    # Shared among candidates: the chances of wrong decisions add up to `doubt` at most.
    doubt /= max(1, len(race.repeats))
    bar = race.baseline + settings.threshold
    gain = {c: chance_above(race, c, bar, total, variances) for c in race.alive}
    # Each is decided by itself against the bar; rivals do not matter.
    if settings.rule == "improves":
        running = frozenset(c for c in race.running if doubt < gain[c] < 1 - doubt)
        return Race(race.repeats, race.baseline, race.questions, race.alive, running)
    # A threshold of −1 keeps the best whatever it did: `rewards` compares with nothing then.
    certain = settings.threshold <= -1
    hopeful = {c for c in race.alive if certain or gain[c] > doubt}
    if not hopeful:
        return Race(race.repeats, race.baseline, race.questions, frozenset(), frozenset())
    # Ties go to the smallest number, as in `rewards`.
    leader = max(sorted(hopeful), key=lambda c: fmean(race.repeats[c]))
    alive = frozenset(
        c
        for c in hopeful
        if c == leader or chance_overtakes(race, c, leader, total, variances) > doubt
    )
    # Sure of itself and alone: more repeats change nothing.
    decided = len(alive) == 1 and (certain or gain[leader] >= 1 - doubt)
    return Race(
        race.repeats, race.baseline, race.questions, alive, frozenset() if decided else alive
    )


def raced_rewards(
    reached: Sequence[float], baseline: float, settings: RewardSettings, alive: Iterable[int]
) -> list[tuple[float, bool]]:
    """As `rewards`, but with ``best-of-m`` only a candidate that stayed in the race to its end can
    be kept.
    """
    if settings.rule == "improves":
        return rewards(reached, baseline, settings)
    order = sorted(alive)
    among = rewards([reached[c] for c in order], baseline, settings)
    kept = {c for c, (_, keep) in zip(order, among, strict=True) if keep}
    return [(accuracy, c in kept) for c, accuracy in enumerate(reached)]


def start(ids: Mapping[str, tuple[float, int]], candidates: int) -> dict[str, Race]:
    """A round's races before the first repeat; ``ids`` gives each context's baseline and number of
    questions.
    """
    every = frozenset(range(candidates))
    empty: Repeats = {c: [] for c in every}
    return {
        name: Race(empty, baseline, questions, every, every)
        for name, (baseline, questions) in ids.items()
    }


def next_stage(
    races: Mapping[str, Race],
    repeats: Mapping[str, Repeats],
    total: int,
    settings: RewardSettings,
    doubt: float,
) -> dict[str, Race]:
    """All races of a round after a repeat; ``doubt`` is what a context may spend in all of them."""
    ran = {
        name: Race(repeats.get(name, {}), r.baseline, r.questions, r.alive, r.running)
        for name, r in races.items()
    }
    variances = spread(ran.values())
    # The last repeat decides nothing, so it spends no doubt.
    each = doubt / max(1, total - 1)
    return {
        name: advance(race, total, settings, variances, each) if race.running else race
        for name, race in ran.items()
    }


def run_race(
    session: Session, place: Place, plan: Callable[[int], Sequence[PlannedTrial]]
) -> dict[str, frozenset[int]]:
    """Score a round's candidates repeat by repeat; what is decided after each is stored before the
    next begins.

    Args:
        session: the run; the base's answers are in its ledger.
        place: where the round is.
        plan: the trials of one repeat, of all candidates.

    Returns:
        For each context the candidates that were in the race at its end.
    """
    rl, ledger = session.settings.rl, session.run.ledger

    def marks(before: int) -> dict[TrialKey, list[float]]:
        """A run stopped within a repeat has some of its answers already: they have no say in what
        is decided before.
        """
        trials = [
            trial
            for trial in ledger.trials(place)
            if trial.candidate is None or trial.repeat < before
        ]
        return marks_of(trials, session.task, graded=True)

    # Contexts whose base has no verdict, or no answers yet, still need a race.
    unread = {trial.context.id: (math.nan, len(trial.context.questions)) for trial in plan(0)}
    races = start(unread | _baselines(marks(0)), rl.candidates)
    for repeat in range(rl.repeats):
        running = [
            trial for trial in plan(repeat) if trial.candidate in races[trial.context.id].running
        ]
        run_trials(session, place, running)
        if repeat + 1 == rl.repeats:
            break
        name = f"race {place} {repeat}"
        races = next_stage(
            races, accuracies_by_repeat(marks(repeat + 1)), rl.repeats, rl.reward, rl.racing_doubt
        )
        if ledger.step(name) is None:
            decided = {
                c: {"alive": sorted(r.alive), "running": sorted(r.running)}
                for c, r in races.items()
            }
            ledger.finish_step(name, {"contexts": decided})
    return {name: race.alive for name, race in races.items()}


def _baselines(marks: Mapping[TrialKey, Sequence[float]]) -> dict[str, tuple[float, int]]:
    return {
        key.context_id: (fmean(counted), len(counted))
        for key, counted in marks.items()
        if key.candidate is None
    }


def accuracies_by_repeat(
    marks: Mapping[TrialKey, Sequence[float]],
) -> dict[str, dict[int, list[float]]]:
    """For each context and candidate, the accuracy in each repeat it has run, in their order; see
    `marks_of`.
    """
    reached: dict[str, dict[int, list[float]]] = {}
    for key, counted in sorted(
        (key, of_key) for key, of_key in marks.items() if key.candidate is not None
    ):
        if key.candidate is not None:
            reached.setdefault(key.context_id, {}).setdefault(key.candidate, []).append(
                fmean(counted)
            )
    return reached
