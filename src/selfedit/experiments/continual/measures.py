"""What is measured of continual edits: each step, and the numbers of one set of remedies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NotRequired

from typing_extensions import TypedDict

from selfedit.grading.stats import EstimateDict, mean, mean_se
from selfedit.retention.remedies.base import GateRecord


class StepRecord(TypedDict):
    """What one edit of a sequence is, and what was measured after it.

    Keys:
        passage: the id of the passage that was edited in.
        adapter: hash of the adapter's folder.
        tokens: trained on.
        gate: whether the edit was taken over, and how much of it.
        accuracy: of each passage so far and each probe that has a verdict.
        answers: question ids and answers.
        routed_right: the share of questions that went to their passage's adapter; None where
            adapters are merged.
        general: the loss of each everyday text.
    """

    passage: str
    adapter: str
    tokens: int
    gate: GateRecord
    accuracy: dict[str, float]
    answers: list[list[str]]
    routed_right: float | None
    general: list[float]


class Unedited(TypedDict):
    """What the model knows before any edit: accuracies by passage, losses of everyday texts."""

    accuracy: dict[str, float]
    general: list[float]


@dataclass(frozen=True)
class MeasuredWay:
    """One way: what its model knew before any edit, and what each step of each sequence
    measured.
    """

    before: Unedited
    steps: Sequence[Sequence[StepRecord]]


class Ratio(TypedDict):
    """A ratio of two means; None where the lower one is nothing."""

    mean: float | None
    se: float | None
    n: int


class AfterEdits(TypedDict):
    """An estimate after so many edits."""

    edits: int
    mean: float
    se: float | None
    n: int
    rise: NotRequired[float]


class GeneralLoss(TypedDict):
    """Loss on everyday text: unedited, at the end, its rise as a share, and step by step."""

    before: float
    after: float
    rise: float
    by_step: list[AfterEdits]


class WayRecord(TypedDict):
    """The numbers of one set of remedies, as results.json has them."""

    matrix: list[list[float]]
    matrix_se: list[list[float | None]]
    just_edited: EstimateDict
    final: EstimateDict
    kept: Ratio
    general_loss: GeneralLoss
    never_edited: list[AfterEdits] | None
    tokens: int
    gate: NotRequired[dict[str, int]]
    routed_right: NotRequired[EstimateDict]


@dataclass(frozen=True)
class Sequences:
    """Sequences of edits under one set of remedies, all of one length.

    Attributes:
        ids: the passages of each, in the order in which they are edited in.
        before: the unedited model.
        steps: for each sequence, what each step measured.
    """

    ids: Sequence[Sequence[str]]
    before: Unedited
    steps: Sequence[Sequence[StepRecord]]

    @property
    def length(self) -> int:
        """Edits of a sequence."""
        return len(self.ids[0])

    def each(self) -> Iterator[StepRecord]:
        """Every step of every sequence."""
        for steps in self.steps:
            yield from steps

    def accuracies(self, edits: int, column: int) -> list[float]:
        """For each sequence, the accuracy on its passage ``column`` after so many edits."""
        if not edits:
            return [self.before["accuracy"][passages[column]] for passages in self.ids]
        pairs = zip(self.ids, self.steps, strict=True)
        return [steps[edits - 1]["accuracy"][passages[column]] for passages, steps in pairs]

    def matrix(self) -> list[list[list[float]]]:
        """The values of each cell: row r is after r edits, column c is passage c."""
        rows = [[self.accuracies(0, column) for column in range(self.length)]]
        for edits in range(1, self.length + 1):
            rows.append([self.accuracies(edits, column) for column in range(edits)])
        return rows

    def unedited(self) -> dict[str, float]:
        """Each sequence's accuracy before any edit."""
        return self._per_sequence([self.accuracies(0, c) for c in range(self.length)])

    def just_edited(self) -> dict[str, float]:
        """Each sequence's mean accuracy on a passage right after its edit."""
        return self._per_sequence([self.accuracies(c + 1, c) for c in range(self.length)])

    def final(self) -> dict[str, float]:
        """Each sequence's accuracy on all of its passages at the end."""
        return self._per_sequence([self.accuracies(self.length, c) for c in range(self.length)])

    def _per_sequence(self, columns: Sequence[Sequence[float]]) -> dict[str, float]:
        return {
            f"sequence-{number}": mean(values)
            for number, values in enumerate(zip(*columns, strict=True))
        }


def way_record(sequences: Sequences) -> WayRecord:
    """Everything that is reported of one set of remedies."""
    just, final = sequences.just_edited(), sequences.final()
    estimates = [list(map(mean_se, row)) for row in sequences.matrix()]
    record: WayRecord = {
        "matrix": [list(map(attrgetter("mean"), row)) for row in estimates],
        "matrix_se": [list(map(attrgetter("se"), row)) for row in estimates],
        "just_edited": mean_se(just.values()).as_dict(),
        "final": mean_se(final.values()).as_dict(),
        "kept": ratio_of_means(list(final.values()), list(just.values())),
        "general_loss": _general_loss(sequences),
        "never_edited": _never_edited(sequences),
        "tokens": sum(step["tokens"] for step in sequences.each()),
    }
    if any(step["gate"]["attempts"] for step in sequences.each()):
        factors = [step["gate"]["factor"] for step in sequences.each()]
        scaled = sum(0 < factor < 1 for factor in factors)
        record["gate"] = {"refused": factors.count(0.0), "scaled": scaled, "edits": len(factors)}
    routed = [_routed_right(steps) for steps in sequences.steps]
    if all(routed):
        record["routed_right"] = mean_se(map(mean, routed)).as_dict()
    return record


def _routed_right(steps: Sequence[StepRecord]) -> list[float]:
    shares = (step["routed_right"] for step in steps)
    return [share for share in shares if share is not None]


def ratio_of_means(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """A ratio of means with its standard error over sequences, by the delta method; None where
    nothing was learned.
    """
    n, top, bottom = len(above), mean(above), mean(below)
    if bottom <= 0:
        return {"mean": None, "se": None, "n": n}
    ratio = top / bottom
    residuals = [a - ratio * b for a, b in zip(above, below, strict=True)]
    se = math.sqrt(sum(e * e for e in residuals) / (n - 1) / n) / bottom if n > 1 else None
    return {"mean": ratio, "se": se, "n": n}


def _general_loss(sequences: Sequences) -> GeneralLoss:
    """Mean loss on everyday text after each number of edits, and its rise as a share of the
    unedited loss.
    """
    base = mean(sequences.before["general"])
    rows: list[AfterEdits] = [
        {"edits": 0, "mean": base, "se": None, "n": len(sequences.steps), "rise": 0.0}
    ]
    for row in _after_each(sequences, lambda step: mean(step["general"])):
        rows.append({**row, "rise": row["mean"] / base - 1})
    rise = rows[-1].get("rise", 0.0)
    return {"before": base, "after": rows[-1]["mean"], "rise": rise, "by_step": rows}


def _never_edited(sequences: Sequences) -> list[AfterEdits] | None:
    """Accuracy on the passages that no sequence edits, after each number of edits; None without
    such passages.

    Those that a judge left without a verdict anywhere are left out.
    """
    known = [sequences.before["accuracy"], *(step["accuracy"] for step in sequences.each())]
    probes = [
        name
        for name in sequences.steps[0][-1]["accuracy"]
        if name not in sequences.ids[0] and _is_in_all(name, known)
    ]
    if not probes:
        return None

    def accuracy(known: Mapping[str, float]) -> float:
        return mean([known[probe] for probe in probes])

    base = mean_se([accuracy(sequences.before["accuracy"])] * len(sequences.steps))
    unedited: AfterEdits = {"edits": 0, "mean": base.mean, "se": None, "n": base.n}
    return [unedited, *_after_each(sequences, lambda step: accuracy(step["accuracy"]))]


def _is_in_all(name: str, accuracies: Sequence[Mapping[str, float]]) -> bool:
    return all(name in accuracy for accuracy in accuracies)


def _after_each(sequences: Sequences, value: Callable[[StepRecord], float]) -> list[AfterEdits]:
    """The mean over sequences of a value of each step."""
    rows: list[AfterEdits] = []
    for edits, steps in enumerate(zip(*sequences.steps, strict=True), start=1):
        estimate = mean_se(map(value, steps))
        rows.append({"edits": edits, "mean": estimate.mean, "se": estimate.se, "n": estimate.n})
    return rows
