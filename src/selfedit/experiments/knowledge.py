"""Knowledge incorporation, end to end: held-out passages before RL, ReST-EM, held-out passages after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfedit.config import Settings
from selfedit.engine.processes import Processes
from selfedit.engine.work import Engine, Here
from selfedit.errors import DataError, UsageError
from selfedit.grading.grader import get_grader
from selfedit.lm.load import LanguageModel, load
from selfedit.outer.evaluate import ROUND, check_methods, context_scores, evaluate, table
from selfedit.outer.rest_em import PHASE, Round, plan_rounds, train
from selfedit.outer.session import Session
from selfedit.run.environment import environment
from selfedit.run.folder import RunFolder
from selfedit.run.interrupt import Interrupt
from selfedit.run.ledger import Ledger, SelfEditRow
from selfedit.run.progress import SILENT, ProgressSink
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context

KIND = "knowledge"


def run_knowledge(
    folder: str | Path,
    settings: Settings,
    *,
    progress: ProgressSink = SILENT,
    interrupt: Interrupt | None = None,
    lm: LanguageModel | None = None,
) -> dict[str, Any]:
    """Start a run, or go on with it where it stopped; returns what is written to ``results.json``.

    Args:
        folder: the run's folder; made if it is not there.
        settings: frozen in the folder at the first start.
        progress: where progress goes.
        interrupt: how the user stops the run.
        lm: the model, if it is loaded already; its weights are changed by RL with ``rl.mstep.merge``.

    Raises:
        UsageError, DataError: settings or passages that cannot be used; nothing is written.
        SettingsChanged, RunFolderError, StorageFull, Interrupted: see `selfedit.errors`.
    """
    check_methods(settings.eval.methods)
    if "passage" in settings.eval.methods and not settings.edit.passage:
        fix = "set edit.passage = true, or leave the method out of eval.methods"
        raise UsageError("the method 'passage' trains on the passage, edit.passage forbids it", where="edit", fix=fix)
    labelled = settings.rl.questions == "gold"
    train_on = load_contexts(settings.train, require_questions=labelled) if settings.rl.rounds else []
    heldout = _heldout(settings, train_on)
    hashes = {"train": data_hash(train_on), "heldout": data_hash(heldout)}
    # What can be refused is refused before a setting is frozen in the folder.
    if train_on:
        plan_rounds(settings, train_on)
    grader = get_grader(settings.answer.grader)
    frozen = settings.model_dump(mode="json") | {"data": hashes}
    with RunFolder.open(folder, frozen, kind=KIND) as run:
        run.record_environment(environment(hashes))
        lm = lm or load(settings.model, device=settings.device, dtype=settings.dtype)
        engine = _engine(lm, settings)
        try:
            task = KnowledgeTask(lm, settings)
            session = Session(run, lm, task, settings, grader, progress, interrupt or Interrupt(), engine)
            rounds = _work(session, train_on, heldout)
        finally:
            engine.close()
        results = _results(session, rounds, hashes)
        run.write_results(results)
    return results


def _engine(lm: LanguageModel, settings: Settings) -> Engine:
    """This process, or as many worker processes as asked for."""
    if settings.workers == 1:
        return Here(lm)
    return Processes(settings.workers, settings.model, settings.device, settings.dtype)


def _heldout(settings: Settings, train_on: Sequence[Context]) -> list[Context]:
    if settings.heldout is None:
        return []
    heldout = load_contexts(settings.heldout, require_questions=True)
    if settings.heldout_contexts is not None:
        if settings.heldout_contexts > len(heldout):
            what = f"{settings.heldout_contexts} held-out passages asked for, there are {len(heldout)}"
            raise DataError(what, where=settings.heldout, fix="lower heldout_contexts")
        heldout = heldout[: settings.heldout_contexts]
    texts = {context.text for context in train_on}
    if shared := [context.id for context in heldout if context.text in texts]:
        fix = "held-out passages must not be trained on: give other files"
        raise UsageError(f"{len(shared)} passages are both trained on and held out", where=shared[0], fix=fix)
    return heldout


def _work(session: Session, train_on: Sequence[Context], heldout: Sequence[Context]) -> list[Round]:
    methods = session.settings.eval.methods if heldout else ()
    for method in methods:
        if method != "seal":
            evaluate(session, method, heldout)
    if not session.settings.rl.rounds:
        return []
    rounds, policy = train(session, train_on)
    if "seal" in methods:
        evaluate(session, "seal", heldout, policy)
    return rounds


def _results(session: Session, rounds: Sequence[Round], hashes: dict[str, str]) -> dict[str, Any]:
    """No times and no dates: equal runs give equal bytes."""
    settings, ledger = session.settings, session.run.ledger
    measured = [m for m in settings.eval.methods if m != "seal" or settings.rl.rounds] if settings.heldout else []
    scores = {method: context_scores(ledger, method) for method in measured}
    return {
        "experiment": KIND,
        **table(scores),
        "contexts": scores,
        "rounds": [asdict(r) for r in rounds],
        "self_edits": self_edit_shapes(ledger, session.task, len(rounds)),
        "model": {"name": settings.model, "fingerprint": session.lm.fingerprint},
        "grader": settings.answer.grader,
        "data": hashes,
        "settings": settings.model_dump(mode="json"),
    }


def self_edit_shapes(ledger: Ledger, task: KnowledgeTask, rounds: int) -> list[dict[str, Any]]:
    """Mean length and number of facts of the self-edits of each policy: rounds, then held-out before and after RL."""
    places = [(f"round {n}", PHASE, n) for n in range(1, rounds + 1)]
    places += [("held-out, before RL", "eval:own", ROUND), ("held-out, after RL", "eval:seal", ROUND)]
    shapes = [(name, ledger.self_edits(phase, number)) for name, phase, number in places]
    return [_shape(name, rows, task) for name, rows in shapes if rows]


def _shape(name: str, rows: Sequence[SelfEditRow], task: KnowledgeTask) -> dict[str, Any]:
    parsed = [task.parse(row.text) for row in rows]
    return {
        "policy": name,
        "n": len(rows),
        "tokens": sum(row.tokens for row in rows) / len(rows),
        "facts": sum(len(edit.lines) + len(edit.pairs) for edit in parsed) / len(rows),
        "pairs": sum(len(edit.pairs) for edit in parsed) / len(rows),
        "cut_off": sum(row.finish == "length" for row in rows) / len(rows),
        "rejected": sum(row.rejected is not None for row in rows) / len(rows),
    }
