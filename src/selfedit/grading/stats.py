"""Means with their standard errors, paired differences and rank correlation.

Questions of one passage share what the model learned from it, so they are not independent: the
score of a run is the mean over passages of the per-passage accuracy, and its error bar is taken
over passages.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from typing_extensions import TypedDict

from selfedit.errors import DataError

_ClusterId = TypeVar("_ClusterId", bound=Hashable)


class EstimateDict(TypedDict):
    """An `Estimate` as results.json keeps it."""

    mean: float
    se: float | None
    n: int


class PairedDict(TypedDict):
    """A `Paired` as results.json keeps it."""

    difference: float
    se: float | None
    n: int


@dataclass(frozen=True)
class Estimate:
    """A mean over ``n`` independent values and its standard error.

    ``se`` is ``None`` when there is a single value: its spread is unknown, and ``None`` is what
    JSON can hold.
    """

    mean: float
    se: float | None
    n: int

    def as_dict(self) -> EstimateDict:
        """The fields as plain JSON values."""
        return {"mean": self.mean, "se": self.se, "n": self.n}

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {'?' if self.se is None else f'{self.se:.3f}'} (n = {self.n})"


@dataclass(frozen=True)
class Paired:
    """The mean of ``a - b`` over the ``n`` shared ids and its standard error (``None`` for a single
    pair).
    """

    difference: float
    se: float | None
    n: int

    def as_dict(self) -> PairedDict:
        """The fields as plain JSON values."""
        return {"difference": self.difference, "se": self.se, "n": self.n}

    def __str__(self) -> str:
        return (
            f"{self.difference:+.3f} ± {'?' if self.se is None else f'{self.se:.3f}'} (n = {self.n}"
            " pairs)"
        )


def mean(values: Collection[float]) -> float:
    """The plain mean, added up in the order of the values: equal runs give equal bits."""
    return sum(values) / len(values)


def means(table: Mapping[_ClusterId, Collection[float]]) -> dict[_ClusterId, float]:
    """The `mean` of each of several lists of values."""
    return {name: mean(values) for name, values in table.items()}


def mean_se(values: Iterable[float]) -> Estimate:
    """The mean and its standard error, the sample standard deviation (n - 1) over the root of n.

    Raises:
        DataError: there are no values, or one is not a finite number.
    """
    array = _finite(values)
    n = len(array)
    se = float(array.std(ddof=1) / math.sqrt(n)) if n > 1 else None
    return Estimate(float(array.mean()), se, n)


def clustered(values_by_cluster: Mapping[_ClusterId, Sequence[float]]) -> Estimate:
    """The mean over clusters of each cluster's mean, every cluster weighing the same; the error is
    over clusters.

    With clusters = passages and values = 1 for a right answer, the score SEAL reports (arXiv
    2506.10943).

    Raises:
        DataError: there are no clusters, or one is empty.
    """
    means = [mean_se(_not_empty(name, values)).mean for name, values in values_by_cluster.items()]
    return mean_se(means)


def share_right(verdicts: Iterable[bool | None]) -> float | None:
    """The share of right answers among those with a verdict; ``None`` if there are none."""
    known = [verdict for verdict in verdicts if verdict is not None]
    return sum(known) / len(known) if known else None


def paired(a: Mapping[_ClusterId, float], b: Mapping[_ClusterId, float]) -> Paired:
    """The mean difference ``a - b`` over the same ids, with the standard error of the differences.

    Raises:
        DataError: the ids are not the same, or there are none: comparing what was measured on other
            questions says nothing about the difference.
    """
    if a.keys() != b.keys() or not a:
        alone = sorted(map(str, a.keys() ^ b.keys()))
        raise DataError(
            f"paired results have {len(a)} and {len(b)} ids, {len(a.keys() & b.keys())} of them"
            " shared",
            where=f"only on one side: {', '.join(alone[:3])}" if alone else None,
            fix="compare results on the same questions or passages",
        )
    gap = mean_se(a[key] - b[key] for key in a)
    return Paired(gap.mean, gap.se, gap.n)


def spearman(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties given their mean rank; ``None`` where one side is constant.

    Raises:
        DataError: the lengths differ, there are fewer than two pairs, or a value is not finite.
    """
    if len(x) != len(y) or len(x) < 2:
        raise DataError(
            f"a rank correlation needs pairs, got {len(x)} and {len(y)} values",
            fix="give two or more",
        )
    rank_x, rank_y = _ranks(_finite(x)), _ranks(_finite(y))
    rank_x, rank_y = rank_x - rank_x.mean(), rank_y - rank_y.mean()
    scale = math.sqrt(float(rank_x @ rank_x) * float(rank_y @ rank_y))
    return float(rank_x @ rank_y) / scale if scale else None


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, position, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[position]


def _finite(values: Iterable[float]) -> np.ndarray:
    array = np.asarray(list(values), dtype=np.float64)
    if not array.size:
        raise DataError("there are no values to average", fix="grade at least one answer")
    if not np.isfinite(array).all():
        raise DataError(
            "a value to average is not a finite number",
            where=f"index {int(np.argmin(np.isfinite(array)))}",
        )
    return array


def _not_empty(name: object, values: Sequence[float]) -> Sequence[float]:
    if not len(values):
        raise DataError(
            "a cluster has no values", where=name, fix="leave out passages without questions"
        )
    return values
