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
from dataclasses import dataclass
from statistics import NormalDist, fmean

from selfedit.config import RewardSettings
from selfedit.rl.scoring import run_trials
from selfedit.rl.selection import rewards
from selfedit.rl.session import Session
from selfedit.rl.trial import PlannedTrial, marks_of
from selfedit.run.records import Place, TrialKey

Repeats = Mapping[int, Sequence[float]]
"""Of one context: each candidate's accuracy in each repeat that it has run."""
PRIOR = 4.0
"""Weight, in degrees of freedom, of the binomial variance beside the measured one: two equal repeats prove no
certainty."""


@dataclass(frozen=True)
class Race:
    """One context within a round.

    Attributes:
        repeats: what its candidates reached so far.
        baseline: the unadapted model's accuracy; NaN without any verdict.
        questions: how many questions an accuracy is over.
        alive: the candidates that can still be kept.
        running: those of them that need another repeat.
    """

    repeats: Repeats
    baseline: float
    questions: int
    alive: frozenset[int]
    running: frozenset[int]


@dataclass(frozen=True)
class Spread:
    """Variances of the normal model: of a candidate's true accuracy, and of one repeat around it."""

    true: float
    repeat: float


def spread(races: Iterable[Race]) -> Spread:
    """The two variances, pooled over a round's contexts."""
    squares = between = 0.0
    freedom = rivals = 0
    binomial: list[float] = []
    runs: list[int] = []
    for race in races:
        if not race.repeats:  # a judge gave no verdict
            continue
        means = [fmean(own) for own in race.repeats.values()]
        centre = fmean(means)
        binomial.append(centre * (1 - centre) / race.questions)
        between += sum((mean - centre) ** 2 for mean in means)
        rivals += len(means) - 1
        for own, mean in zip(race.repeats.values(), means, strict=True):
            squares += sum((x - mean) ** 2 for x in own)
            freedom += len(own) - 1
            runs.append(len(own))
    if not runs:
        return Spread(0.0, 0.0)
    repeat = (squares + PRIOR * fmean(binomial)) / (freedom + PRIOR)
    observed = between / rivals if rivals else 0.0
    return Spread(max(0.0, observed - repeat / fmean(runs)), repeat)


def advance(race: Race, total: int, settings: RewardSettings, found: Spread, doubt: float) -> Race:
    """The race after its latest repeat of ``total``; where a judge gave no verdict yet, nothing is
    decided.

    Args:
        race: every running candidate has run the latest repeat.
        total: repeats without racing.
        settings: which candidates are kept in the end.
        found: the round's variances.
        doubt: chance of a wrong decision that this stage may spend on this context.
    """
    if math.isnan(race.baseline) or not race.alive <= race.repeats.keys():
        return race
    doubt /= max(1, len(race.repeats))
    bar = race.baseline + settings.threshold
    gain = {c: _chance(race, c, bar, total, found) for c in race.alive}
    if settings.rule == "improves":
        running = frozenset(c for c in race.running if doubt < gain[c] < 1 - doubt)
        return Race(race.repeats, race.baseline, race.questions, race.alive, running)
    # A threshold of −1 keeps the best whatever it did: `rewards` compares with nothing then.
    certain = settings.threshold <= -1
    hopeful = {c for c in race.alive if certain or gain[c] > doubt}
    if not hopeful:
        return Race(race.repeats, race.baseline, race.questions, frozenset(), frozenset())
    leader = max(sorted(hopeful), key=lambda c: fmean(race.repeats[c]))
    alive = frozenset(
        c for c in hopeful if c == leader or _overtakes(race, c, leader, total, found) > doubt
    )
    decided = len(alive) == 1 and (certain or gain[leader] >= 1 - doubt)
    return Race(
        race.repeats, race.baseline, race.questions, alive, frozenset() if decided else alive
    )


def _chance(race: Race, candidate: int, bar: float, total: int, found: Spread) -> float:
    """The chance that the candidate's mean over all repeats ends above ``bar``."""
    own = race.repeats[candidate]
    done, left = len(own), total - len(own)
    centre = fmean(fmean(r) for r in race.repeats.values())
    weight, after = _posterior(done, found)
    to_come = centre + weight * (fmean(own) - centre)
    mean = (sum(own) + left * to_come) / total - bar
    variance = (left * found.repeat + left**2 * after) / total**2
    return _above_zero(mean, variance)


def _overtakes(race: Race, candidate: int, leader: int, total: int, found: Spread) -> float:
    """The chance that the candidate's final mean is at least the leader's."""
    own, best = race.repeats[candidate], race.repeats[leader]
    done = min(len(own), len(best))
    left = total - done
    behind = fmean(best[:done]) - fmean(own[:done])
    weight, after = _posterior(done, found)
    mean = -behind * (done + left * weight) / total
    variance = 2 * (left * found.repeat + left**2 * after) / total**2
    return _above_zero(mean, variance)


def _posterior(done: int, found: Spread) -> tuple[float, float]:
    """Of a candidate's true accuracy after ``done`` repeats: the weight of what was seen, and the
    variance left.
    """
    noise = found.repeat / done
    if found.true + noise == 0:
        return 1.0, 0.0
    weight = found.true / (found.true + noise)
    return weight, found.true * (1 - weight)


def _above_zero(mean: float, variance: float) -> float:
    if variance <= 0:
        return 1.0 if mean > 0 else 0.5 if mean == 0 else 0.0
    return 1 - NormalDist(mean, variance**0.5).cdf(0)


def raced_rewards(
    reached: Sequence[float], baseline: float, settings: RewardSettings, alive: Iterable[int]
) -> list[tuple[float, bool]]:
    """As `rewards`, but with ``best-of-m`` only a candidate that stayed in the race to its end can
    be kept.
    """
    if settings.rule == "improves":
        return rewards(reached, baseline, settings)
    order = sorted(alive)
    kept = {
        c
        for c, (_, k) in zip(
            order, rewards([reached[c] for c in order], baseline, settings), strict=True
        )
        if k
    }
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
    """All races of a round after a repeat; ``doubt`` is what a context may spend in the whole race."""
    ran = {
        name: Race(repeats.get(name, {}), r.baseline, r.questions, r.alive, r.running)
        for name, r in races.items()
    }
    found = spread(ran.values())
    each = doubt / max(1, total - 1)
    return {
        name: advance(race, total, settings, found, each) if race.running else race
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

    unread = {trial.context.id: (math.nan, len(trial.context.questions)) for trial in plan(0)}
    races = start(unread | _baselines(marks(0)), rl.candidates)
    for repeat in range(rl.repeats):
        wanted = [
            trial for trial in plan(repeat) if trial.candidate in races[trial.context.id].running
        ]
        run_trials(session, place, wanted)
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
        key.context_id: (fmean(own), len(own))
        for key, own in marks.items()
        if key.candidate is None
    }


def accuracies_by_repeat(
    marks: Mapping[TrialKey, Sequence[float]],
) -> dict[str, dict[int, list[float]]]:
    """For each context and candidate, the accuracy in each repeat it has run, in their order; see
    `marks_of`.
    """
    found: dict[str, dict[int, list[float]]] = {}
    for key, counted in sorted(
        (key, of_key) for key, of_key in marks.items() if key.candidate is not None
    ):
        if key.candidate is not None:
            found.setdefault(key.context_id, {}).setdefault(key.candidate, []).append(
                fmean(counted)
            )
    return found
