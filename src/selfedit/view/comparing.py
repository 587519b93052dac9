"""Two runs side by side, context by context."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from selfedit.grading.stats import mean_se, paired
from selfedit.run.records import Phase, Place
from selfedit.storage.files import JsonObject
from selfedit.view.listing import read_results
from selfedit.view.opened import RunReader
from selfedit.view.overview import place_name

MOST_ROWS = 2000
Scores = dict[str, Mapping[str, float]]
"""For each method or round, the score of each context."""


def scores_of(reader: RunReader) -> Scores:
    """A run's shares of right answers by method, as its results or its ledger so far have them, and
    the mean rewards of its rounds; of documents, which questions were answered.
    """
    results = read_results(reader.viewed.path)
    scores: Scores = dict(results.scores) if results else {}
    if results and not scores:
        scores = _asked_scores(results.more.get("answers"))
    for at in reader.index.places.values() if not results else ():
        if at.phase is Phase.EVAL:
            scores[at.method] = _shares(reader, at)
    for number, name, reward, _ in reader.index.means():
        at = reader.index.places[number]
        if at.phase is Phase.RL and reward is not None:
            method = f"reward, {place_name(at)}"
            scores[method] = {**scores.get(method, {}), name: reward}
    return {method: by_context for method, by_context in scores.items() if by_context}


def _shares(reader: RunReader, at: Place) -> dict[str, float]:
    right, judged = defaultdict[str, int](int), defaultdict[str, int](int)
    for verdict in reader.run.ledger.verdicts(at):
        right[verdict.context_id] += verdict.right
        judged[verdict.context_id] += verdict.judged
    return {name: right[name] / count for name, count in judged.items() if count}


def _asked_scores(answers: object) -> Scores:
    scores: dict[str, dict[str, float]] = {"before": {}, "now": {}, "in_prompt": {}}
    for record in answers if isinstance(answers, list) else []:
        for name, by_question in scores.items():
            verdict = record.get(f"right_{name}") if isinstance(record, dict) else None
            if isinstance(verdict, bool):
                by_question[str(record.get("question"))] = float(verdict)
    return dict(scores)


def beside(one: Scores, other: Scores, method: str) -> JsonObject:
    """What two runs share: each method's means and the difference over shared contexts, and one
    method's contexts, the largest differences first.

    Args:
        one, other: from `scores_of`.
        method: whose contexts are listed; one that both have, else the last of them.
    """
    shared = [name for name in one if name in other]
    chosen = method if method in shared else (shared[-1] if shared else "")
    methods = [_compared(name, one[name], other[name]) for name in shared]
    first, second = one.get(chosen, {}), other.get(chosen, {})
    rows = [[name, first[name], second[name]] for name in sorted(first.keys() & second.keys())]
    rows.sort(key=_minus_distance)
    return {
        "methods": methods,
        "method": chosen,
        "rows": rows[:MOST_ROWS],
        # Contexts that one run alone has measured: they are in no difference.
        "count": len(rows),
        "only": [len(first.keys() - second.keys()), len(second.keys() - first.keys())],
    }


def _minus_distance(row: list[Any]) -> float:
    return -abs(row[2] - row[1])


def _compared(name: str, one: Mapping[str, float], other: Mapping[str, float]) -> JsonObject:
    common = one.keys() & other.keys()
    if not common:
        return {"method": name, "one": None, "other": None, "difference": None}
    first, second = ({key: scores[key] for key in sorted(common)} for scores in (one, other))
    return {
        "method": name,
        "one": mean_se(first.values()).as_dict(),
        "other": mean_se(second.values()).as_dict(),
        "difference": paired(second, first).as_dict(),
    }
