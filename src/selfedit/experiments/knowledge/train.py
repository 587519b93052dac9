"""Knowledge incorporation, end to end: held-out passages before RL, ReST-EM, held-out passages
after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Unpack

from selfedit.config import Settings
from selfedit.errors import UsageError
from selfedit.experiments.knowledge.edit_statistics import directive_table, shape_of
from selfedit.experiments.knowledge.external import check_external
from selfedit.experiments.knowledge.methods import (
    by_seed,
    check_settings,
    is_seal,
    measure,
    measured_methods,
    pairs_of,
)
from selfedit.experiments.knowledge.summary import method_results
from selfedit.experiments.knowledge.writing import costs
from selfedit.lm.lora import Adapter
from selfedit.rl.evaluate import context_scores, held_out
from selfedit.rl.opening import RunOptions, open_passages
from selfedit.rl.plan import plan_rounds
from selfedit.rl.rest_em import run_rounds
from selfedit.rl.rounds import Round, rl_place
from selfedit.rl.session import Session
from selfedit.run.ledger import Ledger
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts
from selfedit.tasks.knowledge.heldout import heldout_contexts
from selfedit.tasks.knowledge.published import single_passage
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context

KIND = "knowledge"


def run_knowledge(
    folder: str | Path, settings: Settings, **options: Unpack[RunOptions]
) -> dict[str, Any]:
    """Start a run, or go on with it where it stopped; returns what is written to ``results.json``.

    Args:
        folder: the run's folder; made if it is not there.
        settings: frozen in the folder at the first start.
        options: see `RunOptions`.

    Raises:
        UsageError, DataError: settings or passages that cannot be used; nothing is written.
        SettingsChanged, RunFolderError, StorageFull, Interrupted: see `selfedit.errors`.
    """
    train_on, heldout, hashes = knowledge_data(settings)
    with open_passages(folder, settings, hashes, kind=KIND, **options) as session:
        rounds = _work(session, train_on, heldout)
        results = _knowledge_results(session, rounds, hashes)
        session.run.write_results(results)
    return results


def knowledge_data(settings: Settings) -> tuple[list[Context], list[Context], dict[str, str]]:
    """The passages that are learned on and held out, and the hashes of all that is from outside:
    what can be refused is refused before a setting is frozen or a model fetched.

    Raises:
        UsageError, DataError: settings or passages that cannot be used.
    """
    check_settings(settings)
    labelled = settings.rl.questions == "gold"
    train_on = (
        load_contexts(settings.train, require_questions=labelled) if settings.rl.rounds else []
    )
    heldout = _heldout(settings, train_on)
    hashes = {"train": data_hash(train_on), "heldout": data_hash(heldout)}
    if train_on:
        plan_rounds(settings, train_on)
    if "external" in settings.eval.methods:
        hashes |= check_external(settings, heldout, settings.eval.samples, "eval.methods")
    return train_on, heldout, hashes


def _heldout(settings: Settings, train_on: Sequence[Context]) -> list[Context]:
    heldout = heldout_contexts(settings)
    texts = {context.text for context in train_on}
    if shared := [context.id for context in heldout if context.text in texts]:
        fix = "held-out passages must not be trained on: give other files"
        raise UsageError(
            f"{len(shared)} passages are both trained on and held out", where=shared[0], fix=fix
        )
    return heldout


def _work(session: Session, train_on: Sequence[Context], heldout: Sequence[Context]) -> list[Round]:
    methods = measured_methods(session.settings) if heldout else []
    for method in methods:
        if not is_seal(method):
            measure(session, method, heldout)
    rounds = session.settings.rl.rounds
    if not rounds:
        return []

    def after(number: int, policy: Adapter | None) -> None:
        if (name := f"seal-{number}") in methods:
            measure(session, "seal", heldout, policy, name)
        elif "seal" in methods and number == rounds:
            measure(session, "seal", heldout, policy)

    return run_rounds(session, train_on, after, heldout)[0]


def _knowledge_results(
    session: Session, rounds: Sequence[Round], hashes: dict[str, str]
) -> dict[str, Any]:
    settings, ledger = session.settings, session.run.ledger
    measured = measured_methods(settings) if settings.heldout else []
    scores = {method: context_scores(ledger, method) for method in measured}
    more = {
        "by_seed": {method: by_seed(ledger, method) for method in measured},
        "costs": costs(ledger),
        "rounds": [asdict(r) for r in rounds],
        "self_edits": self_edit_shapes(ledger, session.task, len(rounds), measured),
    }
    published = single_passage(settings.edit.format)
    results = method_results(
        KIND,
        session,
        scores,
        hashes,
        pairs=pairs_of(measured),
        published=published,
        questioned=heldout_contexts(settings),
        more=more,
    )
    calls = directive_table(more["self_edits"])
    tables = [*results.tables, *([calls] if calls.rows else [])]
    return replace(results, tables=tables).as_dict()


def self_edit_shapes(
    ledger: Ledger, task: KnowledgeTask, rounds: int, methods: Sequence[str]
) -> list[dict[str, Any]]:
    """What the self-edits of each policy look like: those of the rounds, then those on held-out
    passages by method.
    """
    places = [(f"round {n}", rl_place(n)) for n in range(1, rounds + 1)]
    places += [(f"held-out, {method}", held_out(method)) for method in methods]
    shapes = [(name, ledger.self_edits(at)) for name, at in places]
    return [{"policy": name, **shape_of(rows, task)} for name, rows in shapes if rows]
