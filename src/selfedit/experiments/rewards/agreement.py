"""How well a reward from own questions stands in for one from gold questions: what each would
choose, and how alike they rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from typing_extensions import TypedDict

from selfedit.grading.stats import EstimateDict, mean, mean_se, means, spearman
from selfedit.results.tabular import Cell, Column, Table
from selfedit.storage.files import JsonObject

Scores = Mapping[str, Sequence[float]]
"""For each passage a mark of each of its self-edits."""


class RankAgreement(TypedDict):
    """How alike two rewards rank self-edits; None where no passage tells."""

    spearman: EstimateDict | None
    without_ranking: int
    top1: EstimateDict | None
    chance: EstimateDict | None
    without_best: int


def choices(gold: Scores, choosers: Mapping[str, Scores]) -> dict[str, dict[str, float]]:
    """Gold accuracy of a random self-edit, of the one each chooser ranks first, and of the best;
    ties share. Another ``gold-chosen`` than the best by ``gold`` may be among the choosers.
    """
    chosen = {name: _choice(gold, marks) for name, marks in choosers.items()}
    best = {context: max(values) for context, values in gold.items()}
    return {"random": means(gold)} | chosen | {"gold-chosen": chosen.get("gold-chosen", best)}


def _choice(gold: Scores, marks: Scores) -> dict[str, float]:
    return {context: _mean_of_leaders(marks[context], values) for context, values in gold.items()}


def _mean_of_leaders(chooser: Sequence[float], values: Sequence[float]) -> float:
    best = max(chooser)
    leaders = [value for mark, value in zip(chooser, values, strict=True) if mark == best]
    return mean(leaders)


def rank_agreement(gold: Scores, by_own: Scores) -> RankAgreement:
    """Spearman's correlation and top-1 agreement of two rewards, mean and standard error over
    passages.

    A passage where one reward is the same for every self-edit has no ranking: it is counted, not
    averaged. Top-1 is the chance that a self-edit own questions rank first is one that gold
    questions rank first, ``chance`` what a random choice would reach.
    """
    ranks = {name: spearman(by_own[name], values) for name, values in gold.items()}
    ranked = [value for value in ranks.values() if value is not None]
    differing = [name for name, values in gold.items() if len(set(values)) > 1]
    best = {name: _best_marks(gold[name]) for name in differing}
    top = [_mean_of_leaders(by_own[name], best[name]) for name in differing]
    return {
        "spearman": mean_se(ranked).as_dict() if ranked else None,
        "without_ranking": len(ranks) - len(ranked),
        "top1": mean_se(top).as_dict() if top else None,
        "chance": mean_se(means(best).values()).as_dict() if best else None,
        "without_best": len(gold) - len(differing),
    }


def _best_marks(values: Sequence[float]) -> list[float]:
    """1 for each of the best, 0 for the others."""
    highest = max(values)
    return [float(value == highest) for value in values]


def agreement_table(what: str, agreement: RankAgreement) -> Table:
    """A reward's agreement for people; ``what`` names the reward."""
    names = {
        "spearman": "rank agreement (Spearman)",
        "top1": "first choice is a best one",
        "chance": "the same by chance",
    }
    rows: list[list[Cell]] = []
    for key, name in names.items():
        value = agreement.get(key)
        rows.append(
            [name, None, None, 0]
            if value is None
            else [name, value["mean"], value["se"], value["n"]]
        )
    missing = (
        f"{agreement['without_ranking']} passages have no ranking,"
        f" {agreement['without_best']} no best self-edit"
    )
    return Table.make(
        f"{what} ({missing})", ["", Column("mean", "number2"), Column("se", "number2"), "n"], rows
    )


def survivor_table(survivors: JsonObject) -> Table:
    """How many questions the model wrote, and what became of them."""
    rows: list[list[Cell]] = [["written", survivors["written"]], ["kept", survivors["kept"]]]
    rows += [[f"rejected: {reason}", count] for reason, count in survivors["rejected"].items()]
    rows.append(["passages without any", survivors["passages_without"]])
    return Table.make(
        f"Own questions of {survivors['passages']} passages", ["questions", "n"], rows
    )
