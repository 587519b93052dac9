"""How far a grader agrees with labels: agreement, bias, Cohen's kappa, each with an error over
questions.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from selfedit.errors import DataError
from selfedit.grading.labels import Label
from selfedit.grading.text import normalise


@dataclass(frozen=True)
class Agreement:
    """How a grader's verdicts compare with the true ones.

    Attributes:
        agreement: share of equal verdicts.
        kappa: Cohen's kappa, the agreement beyond what the two rates of yes give by chance (Cohen
            1960).
        bias: share of yes among the verdicts minus that among the true ones.
        n: verdicts compared.
        no_verdict: replies the grader came to no verdict on; they are in none of the other figures.
        false_yes, false_no: verdicts of yes where the label says no, and the other way round.
        groups: independent groups the errors are taken over.
        agreement_se, kappa_se, bias_se: standard errors over groups; ``None`` for a single group.
    """

    agreement: float
    kappa: float
    bias: float
    n: int
    no_verdict: int
    false_yes: int
    false_no: int
    groups: int
    agreement_se: float | None
    kappa_se: float | None
    bias_se: float | None

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)


def agreement(
    pred: Sequence[bool | None], true: Sequence[bool], groups: Sequence[Hashable] | None = None
) -> Agreement:
    """Compare verdicts; the errors are over ``groups`` (such as questions), or over verdicts where
    none are given.

    The errors are those of a ratio of sums over clusters (Cochran 1977, Sampling Techniques,
    section 3.12); kappa's is a jackknife over groups (Efron and Tibshirani 1993, section 11.5).
    Kappa is 1 where both sides gave the same single verdict throughout.

    Raises:
        DataError: there are no verdicts or the lengths differ.
    """
    if len(pred) != len(true) or (groups is not None and len(groups) != len(pred)):
        raise DataError(
            f"{len(pred)} verdicts cannot be compared with {len(true)} labels",
            fix="give one of each",
        )
    graded = [at for at, verdict in enumerate(pred) if verdict is not None]
    if not graded:
        raise DataError(
            f"there is no verdict to compare with {len(true)} labels",
            fix="give some that can be graded",
        )
    verdicts, truth = (
        np.array([bool(pred[at]) for at in graded]),
        np.array([bool(true[at]) for at in graded]),
    )
    keys = graded if groups is None else [groups[at] for at in graded]
    number = {key: at for at, key in enumerate(dict.fromkeys(keys))}
    cluster = np.array([number[key] for key in keys])
    cells = _cells(verdicts, truth, cluster)  # [groups, 4]
    same, gap = (verdicts == truth).astype(float), verdicts.astype(float) - truth
    return Agreement(
        agreement=float(same.mean()),
        kappa=float(_kappa(cells.sum(axis=0))),
        bias=float(gap.mean()),
        n=len(verdicts),
        no_verdict=len(pred) - len(graded),
        false_yes=int((verdicts & ~truth).sum()),
        false_no=int((~verdicts & truth).sum()),
        groups=len(number),
        agreement_se=_clustered_se(same, cluster),
        kappa_se=_jackknife_se(cells),
        bias_se=_clustered_se(gap, cluster),
    )


def _cells(verdicts: np.ndarray, truth: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """How often each group has (no, no), (no, yes), (yes, no), (yes, yes): ``[groups, 4]``."""
    groups = int(cluster.max()) + 1
    return (
        np.bincount(4 * cluster + 2 * verdicts + truth, minlength=4 * groups)
        .reshape(groups, 4)
        .astype(float)
    )


def _kappa(cells: np.ndarray) -> np.ndarray:
    """Cohen's kappa of counts ``[..., 4]``."""
    part = cells / np.maximum(cells.sum(axis=-1, keepdims=True), 1)
    same = part[..., 0] + part[..., 3]
    verdicts, truth = part[..., 2] + part[..., 3], part[..., 1] + part[..., 3]
    chance = verdicts * truth + (1 - verdicts) * (1 - truth)
    return np.where(chance < 1, (same - chance) / np.where(chance < 1, 1 - chance, 1), 1.0)


def _jackknife_se(cells: np.ndarray) -> float | None:
    count = len(cells)
    if count < 2:
        return None
    without = _kappa(cells.sum(axis=0) - cells)
    return float(np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum()))


def _clustered_se(values: np.ndarray, cluster: np.ndarray) -> float | None:
    sums = np.bincount(cluster, weights=values - values.mean())
    count = len(sums)
    return math.sqrt(count / (count - 1) * float(sums @ sums)) / len(values) if count > 1 else None


def question_groups(labels: Iterable[Label]) -> list[int]:
    """A number for each label; labels with the same question or the same gold answer, normalised,
    share it.

    Either would tell a fitted grader something about the other: no such pair may lie on both sides
    of a split.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    questions = []
    for label in labels:
        questions.append("q " + normalise(label.question))
        for gold in label.golds:
            parent[root("g " + normalise(gold))] = root(questions[-1])
    number: dict[str, int] = {}
    return [number.setdefault(root(question), len(number)) for question in questions]
