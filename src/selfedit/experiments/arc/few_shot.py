"""Few-shot ARC, end to end: in-context learning, test-time training before RL, ReST-EM, and after
it; Oracle TTT.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from selfedit.config import Settings
from selfedit.errors import DataError, UsageError
from selfedit.experiments.arc.filter import solved_by_oracle
from selfedit.experiments.arc.prime import primed_model
from selfedit.experiments.arc.results import few_shot_results
from selfedit.experiments.train import train_and_measure
from selfedit.lm.load import LanguageModel
from selfedit.rl.evaluate import check_methods
from selfedit.rl.opening import RunOptions, open_run
from selfedit.rl.plan import plan_rounds
from selfedit.rl.session import Session
from selfedit.run.progress import SILENT
from selfedit.run.seeds import derive
from selfedit.tasks.arc.answering import GridGrader
from selfedit.tasks.arc.contexts import FROM_TRAIN, ArcContext, arc_context, read_tasks, tasks_hash
from selfedit.tasks.arc.few_shot import FewShotTask
from selfedit.tasks.arc.rules import explaining_rule, rules_of
from selfedit.tasks.arc.task import ArcTask
from selfedit.tasks.task import split_contexts

KIND = "few-shot"
METHODS = {
    "base": "in-context learning",
    "own": "TTT + own self-edits, before RL",
    "seal": "TTT + own self-edits, after RL (SEAL)",
    "oracle": "Oracle TTT (a recipe tuned by hand)",
}
"""The four rows, from least to most."""
ArcSession = Session[FewShotTask]


@dataclass(frozen=True)
class ArcSets:
    """The tasks RL learns on, and those that are measured."""

    train: list[ArcContext]
    heldout: list[ArcContext]


def run_few_shot(
    folder: str | Path, settings: Settings, **options: Unpack[RunOptions]
) -> dict[str, Any]:
    """Start a run, or go on with it where it stopped; returns what is written to ``results.json``.

    Args:
        folder: the run's folder; made if it is not there.
        settings: frozen in the folder at the first start.
        options: see `RunOptions`.

    Raises:
        UsageError, DataError: settings or tasks that cannot be used; where the filter leaves none,
        after it. SettingsChanged, RunFolderError, StorageFull, Interrupted: see `selfedit.errors`.
    """
    sets = few_shot_data(settings)
    with open_arc_run(folder, settings, sets, KIND, **options) as session:
        session, sets = _filtered(session, sets)
        rounds = train_and_measure(session, sets.train, sets.heldout)
        results = few_shot_results(session, sets.train, sets.heldout, rounds, METHODS)
        session.run.write_results(results)
    return results


def few_shot_data(settings: Settings) -> ArcSets:
    """The tasks of a run, once its methods and rounds are known to be possible.

    Raises:
        UsageError, DataError, FormatError: settings or tasks that cannot be used.
    """
    check_methods(settings.eval.methods, METHODS)
    sets = read_sets(settings)
    for context in sets.heldout:
        if rule := explaining_rule(context.task, _primed_rules(settings)):
            what = f"a held-out task shows the rule {rule!r}, which the model is primed on"
            fix = "hold out another task, or leave the rule's family out of arc.prime.families"
            raise UsageError(what, where=context.id, fix=fix)
    if settings.rl.rounds and not settings.arc.filter and sets.heldout:
        plan_rounds(settings, sets.train)
    return sets


def read_sets(settings: Settings) -> ArcSets:
    """The tasks of a run as contexts; nothing is held out yet where ``arc.heldout`` is train.

    Raises:
        UsageError: a task is both trained on and held out.
        DataError, FormatError: tasks that cannot be read, or have no solutions.
    """
    arc, seed = settings.arc, derive(settings.seed, "views")
    train_on = read_tasks(arc.train, arc.train_ids, arc)
    heldout = read_tasks(arc.heldout, arc.heldout_ids, arc) if arc.heldout != FROM_TRAIN else []
    known = {_puzzle(task) for task in train_on}
    if shared := [task.id for task in heldout if _puzzle(task) in known]:
        fix = (
            "held-out tasks must not be trained on: name others, or set arc.heldout ="
            f" {FROM_TRAIN!r}"
        )
        raise UsageError(
            f"{len(shared)} tasks are both trained on and held out", where=shared[0], fix=fix
        )
    return ArcSets(_contexts(train_on, settings, seed), _contexts(heldout, settings, seed))


def _contexts(tasks: Sequence[ArcTask], settings: Settings, seed: int) -> list[ArcContext]:
    return [arc_context(task, seed, settings.arc.answer) for task in tasks]


def open_arc_run(
    folder: str | Path, settings: Settings, sets: ArcSets, kind: str, **options: Unpack[RunOptions]
) -> AbstractContextManager[ArcSession]:
    """A session on a run over these tasks, with the model primed where that is asked for."""
    hashes = {
        "train": tasks_hash([context.task for context in sets.train]),
        "heldout": tasks_hash([context.task for context in sets.heldout]),
    }

    def task_of(lm: LanguageModel, settings: Settings) -> FewShotTask:
        return FewShotTask(lm, settings, [*sets.train, *sets.heldout])

    def primed() -> str:
        progress, interrupt = options.get("progress", SILENT), options.get("interrupt")
        return str(primed_model(settings, progress=progress, interrupt=interrupt))

    model = primed if settings.arc.prime.tokens else None
    return open_run(
        folder, settings, hashes, GridGrader(), task_of, kind=kind, model=model, **options
    )


def _puzzle(task: ArcTask) -> object:
    """What makes a task the same one under another name: its demonstrations."""
    return tuple(pair.key for pair in task.train)


def _filtered(session: ArcSession, sets: ArcSets) -> tuple[ArcSession, ArcSets]:
    """The tasks that Oracle TTT solves, where asked for; then some of them held out, where none are
    yet.
    """
    settings = session.settings
    if settings.arc.filter:
        solved = solved_by_oracle(session, [*sets.train, *sets.heldout])
        sets = ArcSets(
            [context for context in sets.train if solved[context.id]],
            [context for context in sets.heldout if solved[context.id]],
        )
    if settings.arc.heldout == FROM_TRAIN:
        sets = split_sets(settings, sets.train)
    if not sets.heldout or (settings.rl.rounds and not sets.train):
        what = f"{len(sets.train)} tasks to learn on and {len(sets.heldout)} to measure are left"
        fix = "give more tasks, a stronger arc.oracle, or a model that it works with (arc.prime)"
        raise DataError(what, where="arc.filter" if settings.arc.filter else "arc.heldout", fix=fix)
    return _at_most(session, len(sets.train)), sets


def split_sets(settings: Settings, contexts: list[ArcContext]) -> ArcSets:
    """Some of the tasks held out: none that the rules of priming explain."""
    primed = _primed_rules(settings)
    explained = [c for c in contexts if explaining_rule(c.task, primed)]
    fresh = [c for c in contexts if c not in explained]
    count = min(settings.arc.heldout_tasks, len(contexts) // 2, len(fresh))
    seed = derive(settings.seed, "heldout")
    heldout, others = split_contexts(fresh, [count, len(fresh) - count], seed=seed)
    return ArcSets([*others, *explained], heldout)


def _primed_rules(settings: Settings) -> tuple[str, ...]:
    prime = settings.arc.prime
    return rules_of(prime.families) if prime.tokens else ()


def _at_most(session: ArcSession, tasks: int) -> ArcSession:
    """A round takes no more tasks than the filter and the held-out ones leave."""
    rl, arc = session.settings.rl, session.settings.arc
    most = tasks // rl.rounds if rl.fresh and rl.rounds else tasks
    if rl.contexts <= most or not (arc.filter or arc.heldout == FROM_TRAIN):
        return session
    fewer = session.settings.model_copy(
        update={"rl": rl.model_copy(update={"contexts": max(1, most)})}
    )
    return replace(session, settings=fewer)
