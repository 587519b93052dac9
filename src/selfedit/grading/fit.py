"""Fit the calibrated grader: ``python -m selfedit.grading.fit LABELS --out FILE``.

Needs scikit-learn, which the fitted grader does not. The same labels and the same scikit-learn give
the same bytes. Figures and threshold come from cross-validation that never has a question, or a
gold answer, on both sides.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from selfedit.errors import DataError, SelfEditError, Unavailable
from selfedit.grading.agreement import agreement, question_groups
from selfedit.grading.calibrated import (
    FORMAT,
    Forest,
    StemCounts,
    is_refused,
    question_mark,
    settled,
)
from selfedit.grading.features import VERSION, features
from selfedit.grading.labels import Label, read_labels
from selfedit.grading.stats import mean_se
from selfedit.grading.view import viewed_text

_ALL_ROUNDS: Any = False  # typed as a string in scikit-learn, documented as "auto" or a bool


@dataclass(frozen=True)
class FitSettings:
    """The size of the grader, chosen by cross-validation.

    Attributes:
        boosters: independently boosted models whose log-odds are averaged; each sees ``sample`` of
            the question groups.
        trees: boosting rounds of each.
        leaves, min_leaf, rate, l2, columns: scikit-learn's max_leaf_nodes, min_samples_leaf,
            learning_rate, l2_regularization and max_features.
        rare: stems counted in fewer questions are not stored.
        folds: of the cross-validation.
    """

    boosters: int = 4
    trees: int = 150
    sample: float = 0.8
    leaves: int = 10
    min_leaf: int = 20
    rate: float = 0.05
    l2: float = 5.0
    columns: float = 0.15
    rare: int = 3
    folds: int = 10


@dataclass(frozen=True)
class _Rows:
    """Labels as arrays: features ``[n, f]``, verdicts ``[n]``, group numbers ``[n]``."""

    names: list[str]
    values: np.ndarray
    correct: np.ndarray
    group: np.ndarray


def fit_grader(
    labels: Sequence[Label], settings: FitSettings | None = None, *, source: str = ""
) -> dict[str, Any]:
    """Fit on labels and cross-validate; the result is what :class:`CalibratedGrader` takes.

    Raises:
        Unavailable: scikit-learn is not installed.
    """
    settings = settings or FitSettings()
    groups = np.array(question_groups(labels))
    stems, rows = _prepare(labels, groups, settings)
    threshold, figures = _cross_validate(labels, rows, settings)
    base, trees = fit_trees(rows.values, rows.correct, rows.group, settings)
    about = {"labels_sha256": source, "labels": len(labels), "groups": len(set(groups.tolist()))}
    return {
        "format": FORMAT,
        "features_version": VERSION,
        "about": about | {"settings": asdict(settings), "cross_validation": figures},
        "threshold": threshold,
        "base": base,
        "features": rows.names,
        "questions": sorted({question_mark(label.question) for label in labels}),
        "stems": {"questions": stems.questions, "counts": dict(sorted(stems.counts.items()))},
        "trees": trees,
    }


def _prepare(
    labels: Sequence[Label], groups: np.ndarray, settings: FitSettings
) -> tuple[StemCounts, _Rows]:
    """Count stems over question groups and measure the features, each label without its own group's
    counts.
    """
    by_group: dict[int, set[str]] = {}
    for label, group in zip(labels, groups.tolist(), strict=True):
        for text in (label.question, label.gold, label.prediction):
            by_group.setdefault(group, set()).update(viewed_text(text).stem_set)
    counted = Counter(stem for stems in by_group.values() for stem in stems)
    stems = StemCounts(
        len(by_group), {stem: count for stem, count in counted.items() if count >= settings.rare}
    )
    rows = []
    for label, group in zip(labels, groups.tolist(), strict=True):
        mine = by_group[group]
        rows.append(
            features(
                label.question,
                label.gold,
                label.prediction,
                lambda stem, mine=mine: stems.rarity(stem, counted=stem in mine),
            )
        )
    values = np.array([list(row.values()) for row in rows])
    return stems, _Rows(
        list(rows[0]), values, np.array([label.correct for label in labels]), groups
    )


def fit_trees(
    values: np.ndarray, correct: np.ndarray, group: np.ndarray, settings: FitSettings
) -> tuple[float, list[Any]]:
    """Boost and average; the base log-odds and the trees in
    :class:`~selfedit.grading.calibrated.Forest`'s form.

    Raises:
        Unavailable: scikit-learn is not installed.
    """
    base, trees = 0.0, []
    rng = np.random.default_rng(0)
    everyone = np.unique(group)
    for seed in range(settings.boosters):
        chosen = rng.choice(everyone, max(1, round(len(everyone) * settings.sample)), replace=False)
        used = np.isin(group, chosen)
        model = boost(values[used], correct[used], settings, seed)
        more, grown = export_trees(model, 1 / settings.boosters)
        base, trees = base + more, trees + grown
    return round(base, 6), trees


def boost(values: np.ndarray, correct: np.ndarray, settings: FitSettings, seed: int) -> Any:
    """One of scikit-learn's histogram gradient boosting classifiers, fitted.

    Raises:
        Unavailable: scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError as error:
        raise Unavailable(
            "fitting a grader needs scikit-learn", fix="pip install scikit-learn"
        ) from error
    model = HistGradientBoostingClassifier(
        max_iter=settings.trees,
        max_leaf_nodes=settings.leaves,
        min_samples_leaf=settings.min_leaf,
        learning_rate=settings.rate,
        l2_regularization=settings.l2,
        max_features=settings.columns,
        early_stopping=_ALL_ROUNDS,
        random_state=seed,
    )
    return model.fit(values, correct)


def export_trees(model: Any, scale: float = 1.0) -> tuple[float, list[Any]]:
    """The base log-odds and the trees of a fitted model, all multiplied by ``scale``."""
    trees = [_tree(stage[0].nodes, 0, scale) for stage in model._predictors]
    return float(model._baseline_prediction.item()) * scale, trees


def _tree(nodes: np.ndarray, at: int, scale: float) -> Any:
    node = nodes[at]
    if node["is_leaf"]:
        return round(float(node["value"]) * scale, 6)
    left, right = (_tree(nodes, int(node[side]), scale) for side in ("left", "right"))
    # Features have four decimals, so six are enough to stay on the same side of every value.
    return [int(node["feature_idx"]), round(float(node["num_threshold"]), 6), left, right]


def _cross_validate(
    labels: Sequence[Label], rows: _Rows, settings: FitSettings
) -> tuple[float, dict[str, Any]]:
    """The threshold without bias on unseen questions, and the figures of `unseen_verdicts`."""
    odds, fold = _unseen_odds(labels, rows, settings)
    verdict = _cut_elsewhere(odds, rows.correct, fold)
    parts = [
        agreement(verdict[fold == at].tolist(), rows.correct[fold == at].tolist())
        for at in np.unique(fold)
    ]
    pooled = agreement(verdict.tolist(), rows.correct.tolist(), rows.group.tolist())
    folds = {
        name: mean_se(map(attrgetter(name), parts)).as_dict()
        for name in ("agreement", "kappa", "bias")
    }
    threshold = round(1 / (1 + float(np.exp(-_split_fold(odds, rows.correct)))), 6)
    return threshold, {"over_folds": _rounded(folds), "pooled": _rounded(pooled.as_dict())}


def unseen_verdicts(labels: Sequence[Label], settings: FitSettings | None = None) -> list[bool]:
    """Verdicts of graders that have not seen the question: each fold's is fitted, and its threshold
    set, on the others.

    Raises:
        DataError: all labels are about one question.
        Unavailable: scikit-learn is not installed.
    """
    settings = settings or FitSettings()
    groups = np.array(question_groups(labels))
    _, rows = _prepare(labels, groups, settings)
    odds, fold = _unseen_odds(labels, rows, settings)
    return _cut_elsewhere(odds, rows.correct, fold).tolist()


def _unseen_odds(
    labels: Sequence[Label], rows: _Rows, settings: FitSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds of every label by a model fitted without its fold, and the folds, made of whole
    question groups.
    """
    count = int(rows.group.max()) + 1
    if count < 2:
        raise DataError(
            "all labels are about one question", fix="give labels on several, to fit on some"
        )
    fold = np.random.default_rng(0).permutation(count)[rows.group] % settings.folds
    odds = np.zeros(len(rows.correct))
    for at in np.unique(fold):
        base, trees = fit_trees(
            rows.values[fold != at], rows.correct[fold != at], rows.group[fold != at], settings
        )
        odds[fold == at] = Forest(trees, base).log_odds(rows.values[fold == at])
    return (
        np.array(
            [_settled(label, float(value)) for label, value in zip(labels, odds, strict=True)]
        ),
        fold,
    )


def _settled(label: Label, log_odds: float) -> float:
    if is_refused(label.reply):
        return -math.inf
    return max(settled(label.reply, gold, log_odds) for gold in label.golds)


def _cut_elsewhere(odds: np.ndarray, correct: np.ndarray, fold: np.ndarray) -> np.ndarray:
    verdict = np.zeros(len(odds), dtype=bool)
    for at in np.unique(fold):
        verdict[fold == at] = odds[fold == at] >= _split_fold(odds[fold != at], correct[fold != at])
    return verdict


def _split_fold(odds: np.ndarray, correct: np.ndarray) -> float:
    """The log-odds above which lie as many as are correct."""
    return float(np.clip(np.quantile(odds, 1 - correct.mean(), method="higher"), -10, 10))


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        name: (
            _rounded(value)
            if isinstance(value, dict)
            else round(value, 5)
            if isinstance(value, float)
            else value
        )
        for name, value in figures.items()
    }


def fit_and_write(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m selfedit.grading.fit", description="Fit the calibrated grader."
    )
    parser.add_argument("labels", type=Path, help="labelled replies, .jsonl or .jsonl.gz")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args(arguments)
    try:
        labels = read_labels(options.labels)
        data = fit_grader(labels, source=hashlib.sha256(options.labels.read_bytes()).hexdigest())
        options.out.write_text(
            json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8"
        )
    except SelfEditError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(data["about"], indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(fit_and_write())
