"""A key-free grader fitted on GPT-4.1's verdicts: boosted trees over text features, run with numpy
alone.

What it was fitted on, and how far it agreed with the judge on questions it had not seen, is in its
data file (:attr:`CalibratedGrader.about`). It was fitted on English; replies in other languages are
judged by the same overlaps, and an answer equal to a gold one is right in any. No labelled reply
tries to talk its way into a yes, so no tree
learned to refuse one: an answer that ``concise`` refuses for more than its length (a list, two
alternatives, a negation, a doubt, a recital) is wrong before the trees are asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import exp, inf, log
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from selfedit.config import JudgeSettings
from selfedit.errors import FormatError
from selfedit.grading.concise import AT_ANY_LENGTH, refusal
from selfedit.grading.features import VERSION, features
from selfedit.grading.grader import Grade, Grader, Reply
from selfedit.grading.text import exact_match, normalise, usable_golds
from selfedit.storage.bounded import BoundedReader

FORMAT = 2
_ROWS = 256  # replies scored at a time: [256, trees] stays in the cache


@dataclass(frozen=True)
class StemCounts:
    """How many of ``questions`` questions have a stem in an answer; none where it is left out."""

    questions: int
    counts: Mapping[str, int]

    def rarity(self, stem: str, *, counted: bool = False) -> float:
        """``log((1 + questions) / (1 + count))``; ``counted`` leaves out one question that the stem
        was counted in.
        """
        return log((1 + self.questions) / (1 + max(self.counts.get(stem, 0) - counted, 0)))


class Forest:
    """Boosted trees as flat arrays; all trees go down one level at a time.

    A tree is ``[feature, threshold, left, right]`` with trees or leaf values (log-odds) below it; a
    row goes left where its feature is at most the threshold.
    """

    def __init__(self, trees: Sequence[Any], base: float) -> None:
        self.base = base
        self._nodes: list[tuple[int, float, int, int, float]] = []
        self._roots = np.array([self._add(tree) for tree in trees])
        columns = list(zip(*self._nodes, strict=True))
        self._feature, self._left, self._right = (np.array(columns[at]) for at in (0, 2, 3))
        self._threshold, self._value = np.array(columns[1]), np.array(columns[4])
        self._depth = max(map(_depth, trees))

    def _add(self, tree: Any) -> int:
        at = len(self._nodes)
        if isinstance(tree, (int, float)):
            self._nodes.append((0, 0.0, at, at, float(tree)))  # a leaf leads to itself
            return at
        feature, threshold, left, right = tree
        self._nodes.append((0, 0.0, at, at, 0.0))
        self._nodes[at] = (int(feature), float(threshold), self._add(left), self._add(right), 0.0)
        return at

    def check(self, features: int) -> None:
        """Raise ValueError if a tree looks at a feature that rows of so many do not have."""
        if self._feature.min() < 0 or self._feature.max() >= features:
            raise ValueError(f"a tree looks at other than {features} features")

    def log_odds(self, rows: np.ndarray) -> np.ndarray:
        """The summed leaf values of each row, ``[n, features]`` -> ``[n]``."""
        parts = [self._part(rows[at : at + _ROWS]) for at in range(0, len(rows), _ROWS)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _part(self, rows: np.ndarray) -> np.ndarray:
        node = np.tile(self._roots, (len(rows), 1))  # [n, trees]
        row = np.arange(len(rows))[:, None]
        for _ in range(self._depth):
            left = rows[row, self._feature[node]] <= self._threshold[node]
            node = np.where(left, self._left[node], self._right[node])
        return self.base + self._value[node].sum(axis=1)


def _depth(tree: Any) -> int:
    return 0 if isinstance(tree, (int, float)) else 1 + max(_depth(tree[2]), _depth(tree[3]))


def _known_features(names: Sequence[str]) -> list[str]:
    known = features("a", "a", "a", lambda stem: 0.0)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"there is no feature {unknown[0][:40]!r}")
    return list(names)


class CalibratedGrader(Grader):
    """Grades as GPT-4.1 would have, as far as the words tell.

    Args:
        data: a fitted grader, as :mod:`selfedit.grading.fit` writes it.
        where: its file, for messages.

    Attributes:
        about: what it was fitted on and its cross-validated figures.

    Raises:
        FormatError: the data is of another format or was fitted with other features.
    """

    name = "calibrated"

    def __init__(self, data: Mapping[str, Any], *, where: object = None) -> None:
        if data.get("format") != FORMAT or data.get("features_version") != VERSION:
            raise FormatError(
                "the grader was fitted with another version of selfedit",
                where=where,
                fix="fit it again: python -m selfedit.grading.fit LABELS --out FILE",
            )
        try:
            self.stems = StemCounts(data["stems"]["questions"], data["stems"]["counts"])
            self.threshold = float(data["threshold"])
            self._names = _known_features(data["features"])
            self._questions = frozenset(data["questions"])
            self._forest = Forest(data["trees"], float(data["base"]))
            self._forest.check(len(self._names))
            self.about: dict[str, Any] = dict(data["about"])
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"not a fitted grader: {error!r}", where=where) from error

    @classmethod
    def from_settings(cls, judge: JudgeSettings) -> CalibratedGrader:
        """The one that comes with selfedit, whatever the settings say of a judge."""
        return cls.load()

    @classmethod
    def load(cls, path: str | Path | None = None) -> CalibratedGrader:
        """Load a fitted grader; without a path the one that comes with selfedit.

        Raises:
            FormatError: the file is not a fitted grader of this version.
        """
        return _shipped() if path is None else cls(_read_forest(Path(path)), where=path)

    def knows(self, question: str) -> bool:
        """Whether it was fitted on labels of this question: how well it does there says nothing
        about others.
        """
        return question_mark(question) in self._questions

    def grade(self, question: str, golds: Sequence[str], answer: str) -> Grade:
        """Grade one answer; the score is the probability of a yes, the best over the golds."""
        return self.grade_all([Reply(question, golds, answer)])[0]

    def grade_all(self, replies: Sequence[Reply]) -> list[Grade]:
        """Grade many answers, in their order."""
        pairs = [
            (at, reply, gold)
            for at, reply in enumerate(replies)
            for gold in usable_golds(reply.golds)
        ]
        rows = [self._row(reply.question, gold, reply.answer) for _, reply, gold in pairs]
        odds = self._forest.log_odds(
            np.array(rows, dtype=np.float64).reshape(len(rows), len(self._names))
        )
        best = [0.0] * len(replies)
        for (at, reply, gold), value in zip(pairs, odds, strict=True):
            best[at] = max(best[at], 1 / (1 + exp(-settled(reply, gold, float(value)))))
        refused = [is_refused(reply) for reply in replies]
        best = [0.0 if wrong else score for wrong, score in zip(refused, best, strict=True)]
        return [Grade(score >= self.threshold, score, self.name) for score in best]

    def _row(self, question: str, gold: str, answer: str) -> list[float]:
        values = features(question, gold, answer, self.stems.rarity)
        return [values[name] for name in self._names]


def known_questions(grader: Grader, questions: Iterable[str]) -> list[str]:
    """The questions whose verdicts a grader was fitted on, each once; none for a grader that is not
    fitted.

    A table says how many there are, or leaves them out: how well the grader does on them says
    nothing about others.
    """
    if not isinstance(grader, CalibratedGrader):
        return []
    return [question for question in dict.fromkeys(questions) if grader.knows(question)]


def is_refused(reply: Reply) -> bool:
    """Whether the answer is wrong whatever the trees say: it states a gold answer, and offers or
    denies it too.
    """
    return refusal(reply, AT_ANY_LENGTH) not in (None, "missing")


def settled(reply: Reply, gold: str, log_odds: float) -> float:
    """The log-odds, unless no model is needed: silence is wrong, a gold answer itself is right in
    any language.
    """
    if not normalise(reply.answer):
        return -inf
    return inf if exact_match(reply.answer, [gold]) else log_odds


def question_mark(question: str) -> str:
    """A short mark of a question, by which a fitted grader remembers it: equal after normalisation,
    equal mark.
    """
    return hashlib.sha256(normalise(question).encode("utf-8", "surrogatepass")).hexdigest()[:8]


@cache
def _shipped() -> CalibratedGrader:
    data = files("selfedit.grading") / "calibrated.json"
    return CalibratedGrader(json.loads(data.read_text(encoding="utf-8")), where="calibrated.json")


_READER = BoundedReader("the fitted grader", fix="fit it again: python -m selfedit.grading.fit")


class _Stems(BaseModel):
    model_config = ConfigDict(strict=True)
    questions: Annotated[int, Field(ge=0, le=10**9)]
    counts: dict[str, Annotated[int, Field(ge=0, le=10**9)]]


class _Fitted(BaseModel):
    """A grader's file; its trees are checked as they are built."""

    model_config = ConfigDict(strict=True, extra="allow")
    stems: _Stems
    threshold: float
    features: list[str]
    questions: list[str]
    trees: Annotated[list[Any], Field(min_length=1, max_length=2**16)]
    base: float
    about: dict[str, Any]


def _read_forest(path: Path) -> dict[str, Any]:
    data = _READER.shape(_READER.json(path), dict[str, Any], path)
    if data.get("features_version") == VERSION:
        _READER.shape(data, _Fitted, path)
    return data
