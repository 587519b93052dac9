"""How well cheaper rewards predict the true one: its ranking of the self-edits of one context, and
its choice.

M self-edits of each of N contexts run their inner loops; the same adapters answer (the true reward:
mean accuracy over the repeats) and say how likely they find the gold answers; a judge, if one is
named, marks the texts. Beside them stand a self-edit's length, and with two or more repeats one
repeat of the true reward itself, held against the others: no reward can be expected to predict it
better than it predicts itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from selfedit.config import Settings
from selfedit.errors import UsageError
from selfedit.experiments.knowledge.edit_statistics import shape_of
from selfedit.experiments.rewards.ranking import against_true, compare_choices, row
from selfedit.grading.stats import mean
from selfedit.results.results import Results, Row
from selfedit.rl.opening import RunOptions, open_passages
from selfedit.rl.plan import plan_rounds
from selfedit.rl.rewards.proxy import Mark, proxy_marks
from selfedit.rl.rounds import rl_place
from selfedit.rl.sample import sample
from selfedit.rl.scoring import run_trials
from selfedit.rl.session import Session
from selfedit.rl.trial import CandidateKey, likelihoods, plan_trials, right_or_wrong
from selfedit.run.records import SelfEditRow
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts
from selfedit.tasks.task import Context

KIND = "rewards"
PLACE = rl_place(1)

RewardTable = dict[str, list[float]]
"""A reward of every self-edit: for each context, by candidate."""


def run_rewards(
    folder: str | Path, settings: Settings, **options: Unpack[RunOptions]
) -> dict[str, Any]:
    """Start the experiment, or go on with it where it stopped; returns what is written to
    ``results.json``.

    N, M and the repeats are ``rl.contexts``, ``rl.candidates`` and ``rl.repeats``. Unlike other
    experiments' results
    these hold seconds: what a reward costs is half of the question.

    Raises:
        UsageError, DataError: settings or passages that cannot be used; nothing is written.
        Unavailable: the judge cannot be asked; what came is kept.
    """
    labelled = rewards_data(settings)
    contexts = plan_rounds(settings, labelled)[0]
    hashes = {"train": data_hash(labelled)}
    with open_passages(folder, settings, hashes, kind=KIND, **options) as session:
        edits = _run_loops(session, contexts)
        marks = _judge_marks(session, contexts, edits)
        results = _reward_results(session, edits, marks, hashes).as_dict()
        session.run.write_results(results)
    return results


def rewards_data(settings: Settings) -> list[Context]:
    """The passages to choose from.

    Raises:
        UsageError, DataError: settings or passages that cannot be used.
    """
    if settings.rl.candidates < 2 or settings.rl.rounds < 1:
        what = f"{settings.rl.candidates} self-edits a context, {settings.rl.rounds} rounds"
        raise UsageError(
            what, where="rl.candidates", fix="a ranking needs two self-edits or more, and a round"
        )
    contexts = load_contexts(settings.train, require_questions=True)
    plan_rounds(settings, contexts)
    return contexts


def _run_loops(session: Session, contexts: Sequence[Context]) -> list[SelfEditRow]:
    rl = session.settings.rl
    edits = sample(session, PLACE, contexts, rl.candidates)
    planned = plan_trials(session, PLACE, contexts, edits, range(rl.repeats))
    run_trials(session, PLACE, planned, ("answers", "likelihoods"))
    return edits


def _judge_marks(
    session: Session, contexts: Sequence[Context], edits: Sequence[SelfEditRow]
) -> list[Mark]:
    from selfedit.endpoint import EndpointClient

    judge = session.settings.judge
    if judge.endpoint.model is None:
        return []
    with EndpointClient(judge.endpoint) as client:
        return proxy_marks(client, judge, contexts, edits, session.interrupt.check)


def _reward_results(
    session: Session, edits: Sequence[SelfEditRow], marks: Sequence[Mark], hashes: Mapping[str, str]
) -> Results:
    settings, count = session.settings, len(edits)
    by_repeat = _accuracies(session)
    true = {context: list(map(mean, repeats)) for context, repeats in by_repeat.items()}
    seconds = _seconds_by_part(session)
    loops = count * settings.rl.repeats
    adapting = seconds["adapting"] / loops
    tables: dict[str, tuple[RewardTable, float]] = {
        "accuracy": (
            true,
            settings.rl.repeats * (adapting + (seconds["answering"] + seconds["grading"]) / loops),
        ),
        "loglik": (_reward_table(likelihoods(session.run.ledger.trials(PLACE)), edits), 0.0),
        "length": (
            _reward_table({(e.context_id, e.candidate): float(e.tokens) for e in edits}, edits),
            0.0,
        ),
    }
    tables["loglik"] = (
        tables["loglik"][0],
        settings.rl.repeats * (adapting + seconds["reading"] / loops),
    )
    if marks:
        proxy: dict[CandidateKey, float] = {
            (e.context_id, e.candidate): mark.share for e, mark in zip(edits, marks, strict=True)
        }
        tables["proxy"] = (_reward_table(proxy, edits), sum(mark.seconds for mark in marks) / count)
    rows = [row(name, table, true, cost) for name, (table, cost) in tables.items()]
    if settings.rl.repeats > 1:
        rows.append(_one_repeat(by_repeat, (rows[0].more["seconds"] or 0.0) / settings.rl.repeats))
    costs = [mark.cost for mark in marks if mark.cost is not None]
    return Results(
        experiment=KIND,
        rows=rows,
        paired=compare_choices({name: table for name, (table, _) in tables.items()}, true),
        tables=[against_true(rows)],
        model={"name": settings.model, "fingerprint": session.lm.fingerprint},
        grader=settings.answer.grader,
        data=hashes,
        settings=settings.model_dump(mode="json"),
        more={
            "inner_seeds": settings.rl.repeats,
            "judge_cost": sum(costs) if marks and len(costs) == len(marks) else None,
            "self_edits": [{"policy": "before RL", **shape_of(edits, session.task)}],
            "rewards": {name: table for name, (table, _) in tables.items()},
        },
    )


def _accuracies(session: Session) -> dict[str, list[list[float]]]:
    """For each context and candidate the accuracy of each repeat; contexts with an unreadable one
    are left out.
    """
    by_context: dict[str, dict[int, list[float]]] = {}
    unreadable: set[str] = set()
    for trial in session.run.ledger.trials(PLACE):
        marks = right_or_wrong(trial)
        if marks and trial.candidate is not None:
            repeats = by_context.setdefault(trial.context_id, {}).setdefault(trial.candidate, [])
            repeats.append(mean(marks))
        else:
            unreadable.add(trial.context_id)
    return {
        name: list(repeats.values())
        for name, repeats in by_context.items()
        if name not in unreadable
    }


def _reward_table(
    values: Mapping[CandidateKey, float], edits: Sequence[SelfEditRow]
) -> RewardTable:
    table: RewardTable = defaultdict(list)
    for edit in edits:
        table[edit.context_id].append(values[edit.context_id, edit.candidate])
    return dict(table)


def _one_repeat(by_repeat: Mapping[str, list[list[float]]], cost: float) -> Row:
    """The first repeat of the true reward against the mean of the others."""
    first, others = {}, {}
    for context, candidates in by_repeat.items():
        first[context] = [repeats[0] for repeats in candidates]
        others[context] = [mean(repeats[1:]) for repeats in candidates]
    return row("accuracy of one repeat, against the others", first, others, cost)


def _seconds_by_part(session: Session) -> dict[str, float]:
    """Seconds of every part, over all sessions."""
    seconds: dict[str, float] = defaultdict(float)
    for timing in session.run.ledger.timings():
        if timing.place == PLACE:
            seconds[timing.part] += timing.seconds
    return seconds
