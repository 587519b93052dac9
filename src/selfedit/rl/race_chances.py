"""The normal model behind racing: variances of a round, and the chance of ending ahead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

Repeats = Mapping[int, Sequence[float]]
"""Of one context: each candidate's accuracy in each repeat that it has run."""
PRIOR = 4.0
"""Weight, in degrees of freedom, of the binomial variance beside the measured one: two equal
repeats prove no certainty.
"""


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
    """The normal model's variances: of a candidate's true accuracy, and of a repeat around it."""

    true: float
    repeat: float


def spread(races: Iterable[Race]) -> Spread:
    """The two variances, pooled over a round's contexts."""
    squares = between = 0.0
    freedom = rivals = 0
    binomial: list[float] = []
    runs: list[int] = []
    for race in races:
        # Not even one repeat has a verdict: it says nothing of the spread.
        if not race.repeats:  # a judge gave no verdict
            continue
        means = [fmean(accuracies) for accuracies in race.repeats.values()]
        centre = fmean(means)
        # Variance of a share of right answers if questions were independent: p (1 − p) / n.
        binomial.append(centre * (1 - centre) / race.questions)
        between += sum((mean - centre) ** 2 for mean in means)
        rivals += len(means) - 1
        for accuracies, mean in zip(race.repeats.values(), means, strict=True):
            # Around the candidate's own mean: one degree of freedom each is spent on it.
            squares += sum((x - mean) ** 2 for x in accuracies)
            freedom += len(accuracies) - 1
            runs.append(len(accuracies))
    if not runs:
        return Spread(0.0, 0.0)
    # The binomial variance as PRIOR observations beside the measured ones.
    repeat = (squares + PRIOR * fmean(binomial)) / (freedom + PRIOR)
    # Between candidates' means: true differences and the repeats' noise together.
    observed = between / rivals if rivals else 0.0
    # The noise of a mean over the repeats taken off; what remains may come out below 0.
    return Spread(max(0.0, observed - repeat / fmean(runs)), repeat)


def chance_above(race: Race, candidate: int, bar: float, total: int, variances: Spread) -> float:
    """The chance that the candidate's mean over all repeats ends above ``bar``."""
    accuracies = race.repeats[candidate]
    done, left = len(accuracies), total - len(accuracies)
    # Candidates are shrunk towards the context's mean: what is not known of one, the others
    # suggest.
    centre = fmean(fmean(r) for r in race.repeats.values())
    weight, after = _posterior(done, variances)
    to_come = centre + weight * (fmean(accuracies) - centre)
    # Repeats done count as they are, those to come at what is expected of them.
    mean = (sum(accuracies) + left * to_come) / total - bar
    # Of the repeats' own noise, and of not knowing the true accuracy, which they all share.
    variance = (left * variances.repeat + left**2 * after) / total**2
    return _above_zero(mean, variance)


def chance_overtakes(
    race: Race, candidate: int, leader: int, total: int, variances: Spread
) -> float:
    """The chance that the candidate's final mean is at least the leader's."""
    accuracies, best = race.repeats[candidate], race.repeats[leader]
    done = min(len(accuracies), len(best))
    left = total - done
    behind = fmean(best[:done]) - fmean(accuracies[:done])
    weight, after = _posterior(done, variances)
    mean = -behind * (done + left * weight) / total
    # Twice: leader and rival are both uncertain.
    variance = 2 * (left * variances.repeat + left**2 * after) / total**2
    return _above_zero(mean, variance)


def _posterior(done: int, variances: Spread) -> tuple[float, float]:
    """Of a candidate's true accuracy after ``done`` repeats: the weight of what was seen, and the
    variance left.
    """
    # Variance of the mean of what was measured.
    noise = variances.repeat / done
    if variances.true + noise == 0:
        return 1.0, 0.0
    weight = variances.true / (variances.true + noise)
    return weight, variances.true * (1 - weight)


def _above_zero(mean: float, variance: float) -> float:
    # Nothing varies: the mean is the answer.
    if variance <= 0:
        return 1.0 if mean > 0 else 0.5 if mean == 0 else 0.0
    return 1 - NormalDist(mean, variance**0.5).cdf(0)
