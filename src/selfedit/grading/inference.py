"""What differences show: t intervals and tests, errors over passages and policies at once, several
comparisons.

A difference between two methods is measured on passages (which it is hoped to hold for) with a
policy trained under some seeds (which it is hoped to hold for too). An error over passages alone
holds the policies fixed and is too small. Student's t stands in for the normal distribution
throughout: with eight passages or three seeds the difference matters.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from selfedit.errors import DataError
from selfedit.grading.stats import Paired
from selfedit.grading.student import t_quantile, t_tail

_Policy = TypeVar("_Policy", bound=Hashable)
_Passage = TypeVar("_Passage", bound=Hashable)


@dataclass(frozen=True)
class Test:
    """A difference with what its error allows to say.

    Attributes:
        difference: the mean.
        se: its standard error; None where it cannot be told.
        df: degrees of freedom of the error, not always whole.
        low, high: the 95 % confidence interval.
        p: two-sided probability of such a difference, or a larger one, if there were none.
    """

    __test__ = False  # not one of pytest's

    difference: float
    se: float | None
    df: float
    low: float | None
    high: float | None
    p: float | None

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Crossed:
    """A difference measured on every passage under every policy.

    Attributes:
        test: its mean, with the error over passages and policies together.
        se_passages: the error over passages alone, the policies held fixed.
        se_policies: the error over policies alone, the passages held fixed.
        passages, policies: how many of each.
    """

    test: Test
    se_passages: float | None
    se_policies: float | None
    passages: int
    policies: int

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)


def t_test(gap: Paired) -> Test:
    """Student's paired t test (Student 1908, Biometrika 6) of a paired difference: t = difference /
    se, n - 1 df.
    """
    return significance(gap.difference, gap.se, gap.n - 1)


def significance(difference: float, se: float | None, df: float, level: float = 0.95) -> Test:
    """A difference with its interval ``difference ± t(df) · se`` and the two-sided p value of
    ``difference / se``.

    Without an error (``None``, or no degree of freedom) there is neither. An error of 0 is taken as
    it is: p is then 1 for no difference and else 0.
    """
    if se is None or df <= 0:
        return Test(difference, se, df, None, None, None)
    width = t_quantile(0.5 + level / 2, df) * se
    ratio = abs(difference) / se if se else math.inf if difference else 0.0
    return Test(
        difference, se, df, difference - width, difference + width, min(1.0, 2 * t_tail(ratio, df))
    )


def crossed(table: Mapping[_Policy, Mapping[_Passage, float]]) -> Crossed:
    """The mean of a difference over passages and policies, both drawn at random and crossed.

    With ``d[i, j]`` the difference on passage i under policy j, ``P`` passages and ``S`` policies,
    the two-way random effects model without replicates gives the mean squares MS_P, MS_S and MS_PS
    of an analysis of variance, and the variance of the grand mean is estimated by ``(MS_P + MS_S -
    MS_PS) / (P·S)``, unbiased (Searle, Casella and McCulloch 1992, Variance Components, section
    4.3). Where that is negative or below what one factor alone gives, the larger of those is taken.
    Its degrees of freedom are Satterthwaite's (1946, Biometrics Bulletin 2): ``V² / Σ (term² /
    df)`` over the terms, at least 1 and at most the larger factor's.

    Args:
        table: for each policy (seed), for each passage, the difference.

    Raises:
        DataError: there is no policy, the policies were not measured on the same passages, or a
            value is not finite.
    """
    values = _as_array(table)  # [S, P]
    policies, passages = values.shape
    mean = float(values.mean())
    rows, columns = values.mean(axis=1), values.mean(axis=0)  # [S], [P]
    se_policies = _se(rows)
    se_passages = _se(columns)
    if policies < 2 or passages < 2:
        known = se_passages if policies < 2 else se_policies
        return Crossed(
            significance(mean, known, max(policies, passages) - 1),
            se_passages,
            se_policies,
            passages,
            policies,
        )
    left = values - rows[:, None] - columns[None, :] + mean
    both = (policies - 1) * (passages - 1)
    mean_squares = (
        (policies * float(((columns - mean) ** 2).sum()) / (passages - 1), passages - 1),
        (passages * float(((rows - mean) ** 2).sum()) / (policies - 1), policies - 1),
        (-float((left**2).sum()) / both, both),
    )
    total = sum(square for square, _ in mean_squares)
    alone = max(mean_squares[0], mean_squares[1])
    if total <= alone[0]:
        total, df = alone[0], float(alone[1])
    else:
        df = total**2 / sum(square**2 / free for square, free in mean_squares)
        df = min(max(df, 1.0), max(policies, passages) - 1)
    return Crossed(
        significance(mean, math.sqrt(total / values.size), df),
        se_passages,
        se_policies,
        passages,
        policies,
    )


def holm(p_values: Mapping[_Policy, float]) -> dict[_Policy, float]:
    """P values adjusted for their number by Holm's step-down procedure (1979, Scand. J. Statist.
    6).

    In ascending order the k-th of m is multiplied by ``m - k + 1``, none is smaller than the one
    before, none above 1: calling those below 5 % differences is wrong anywhere in at most 5 % of
    such families.

    Raises:
        DataError: a p value is outside [0, 1].
    """
    if bad := [name for name, p in p_values.items() if not 0 <= p <= 1]:
        raise DataError("a p value is outside 0 to 1", where=bad[0])
    adjusted: dict[_Policy, float] = {}
    reached = 0.0
    for position, name in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        reached = max(reached, min(1.0, (len(p_values) - position) * p_values[name]))
        adjusted[name] = reached
    return {name: adjusted[name] for name in p_values}


def _se(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def _as_array(table: Mapping[_Policy, Mapping[_Passage, float]]) -> np.ndarray:
    """The differences as ``[policies, passages]``, passages in the first policy's order."""
    rows = list(table.values())
    if not rows or not rows[0]:
        raise DataError(
            "there is no difference to take an error of",
            fix="give one policy and one passage at least",
        )
    passages = list(rows[0])
    if any(row.keys() != rows[0].keys() for row in rows):
        fix = "compare policies on the same passages"
        raise DataError(
            "the policies were not measured on the same passages", where=list(table), fix=fix
        )
    values = np.empty((len(rows), len(passages)), dtype=np.float64)  # [policies, passages]
    for number, row in enumerate(rows):
        values[number] = [row[passage] for passage in passages]
    if not np.isfinite(values).all():
        raise DataError("a difference is not a finite number")
    return values
