"""Which self-edits the policy learns from."""

from __future__ import annotations

import math
from collections.abc import Sequence

from selfedit.config import RewardSettings


def rewards(
    accuracies: Sequence[float], baseline: float, settings: RewardSettings
) -> list[tuple[float, bool]]:
    """Reward of every candidate of one context, and whether it is kept.

    ``improves`` is eq. 2 of SEAL (arXiv 2506.10943): 1 if the adapted model's accuracy is above the
    unadapted one's by more than the threshold, else 0; every candidate with reward 1 is kept.
    ``best-of-m`` is what the published code
    does: the candidate with the highest mean accuracy is kept; ours asks besides that it beat the
    baseline by more than the threshold, for with nothing learned there is nothing to imitate (a
    threshold of −1 keeps the best whatever it did, as published). ``solved``, for tasks that are
    solved or not, rewards with the candidate's own accuracy and keeps every one above the
    threshold, as few-shot ARC does. ``leave-one-out`` rewards with how much better the candidate is
    than the mean of the context's others, whatever the unadapted model does, and keeps those above
    the threshold.

    Args:
        accuracies: mean accuracy of each candidate, in [0, 1]; NaN for one that was not measured,
            which is not kept.
        baseline: the unadapted model's accuracy on the same questions; NaN keeps none.
        settings: rule, threshold, ties.
    """
    if settings.rule == "solved":
        # The unadapted model plays no part: a task that it solves is solved.
        return [(accuracy, _improves(accuracy, settings.threshold)) for accuracy in accuracies]
    if settings.rule == "leave-one-out":
        apart = [_from_others(accuracies, i) for i in range(len(accuracies))]
        return [(value, _improves(value, settings.threshold)) for value in apart]
    improved = [_improves(accuracy - baseline, settings.threshold) for accuracy in accuracies]
    if settings.rule == "improves":
        return [(float(better), better) for better in improved]
    # NaN is larger than nothing in Python: it is left out before the maximum.
    best = max((accuracy for accuracy in accuracies if not math.isnan(accuracy)), default=0.0)
    leaders = [i for i, accuracy in enumerate(accuracies) if accuracy == best and improved[i]]
    # The published code takes the first; the other rule keeps all that are equal.
    if settings.ties == "first":
        leaders = leaders[:1]
    return [(accuracy, i in leaders) for i, accuracy in enumerate(accuracies)]


def _from_others(accuracies: Sequence[float], candidate: int) -> float:
    """A candidate's accuracy less the mean of the others that were measured; NaN without any."""
    others = [a for i, a in enumerate(accuracies) if i != candidate and not math.isnan(a)]
    return accuracies[candidate] - sum(others) / len(others) if others else math.nan


def _improves(gain: float, threshold: float) -> bool:
    """0.8 − 0.6 is a little more than 0.2 in floating point, and is not meant to be."""
    # A threshold of −1 keeps whatever was measured: see `rewards`.
    return not math.isnan(gain) and (threshold <= -1 or gain > threshold + 1e-9)
