"""Reinforcement learning on any task: held-out contexts before it, rounds of it, held-out contexts
after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from selfedit.config import Settings
from selfedit.experiments.run import open_run
from selfedit.grading.grader import Grader
from selfedit.lm.load import LanguageModel
from selfedit.results.compare import compare, on_shared
from selfedit.results.results import Results
from selfedit.rl.evaluate import context_scores, evaluate, undecided
from selfedit.rl.plan import plan_rounds
from selfedit.rl.rest_em import train as run_rounds
from selfedit.rl.rounds import Round
from selfedit.rl.session import Session
from selfedit.run.interrupt import Interrupt
from selfedit.run.progress import SILENT, ProgressSink
from selfedit.storage.files import fingerprint
from selfedit.tasks.task import Context, Task

T = TypeVar("T", bound=Task[Any, Any])
SEAL = "seal"
"""The method that writes self-edits with the policy after RL; all others are measured before it."""


def train(
    folder: str | Path,
    settings: Settings,
    make_task: Callable[[LanguageModel, Settings], T],
    contexts: Sequence[Context],
    heldout: Sequence[Context],
    grader: Grader,
    *,
    kind: str = "train",
    progress: ProgressSink = SILENT,
    interrupt: Interrupt | None = None,
    lm: LanguageModel | None = None,
) -> Results:
    """Start a run of a task, or go on with it where it stopped; its results are in ``results.json``
    too.

    Args:
        folder: the run's folder; made if it is not there.
        settings: frozen in the folder at the first start. ``eval.methods`` says what is measured on
            the held-out contexts: base, own, seal, and what the task's `Task.fixed` knows.
        make_task: makes the task of the loaded model and the settings; a class of tasks does.
        contexts: what self-edits are learned on.
        heldout: what is measured.
        grader: says whether an answer is right.
        kind: what the folder's run is called; it is gone on with by the same kind only.
        progress: where progress goes.
        interrupt: how the user stops the run.
        lm: the model, if it is loaded already; its weights are changed by RL with
            ``rl.mstep.merge``.

    Raises:
        UsageError, DataError: settings or contexts that cannot be used; nothing is written.
        SettingsChanged, RunFolderError, StorageFull, Interrupted: see `selfedit.errors`.
    """
    plan_rounds(settings, contexts)
    hashes = {"train": _hash(contexts), "heldout": _hash(heldout)}
    told: Any = {"progress": progress, "interrupt": interrupt, "lm": lm}
    with open_run(folder, settings, hashes, grader, make_task, kind=kind, **told) as session:
        rounds = train_and_measure(session, contexts, heldout)
        results = _results(session, kind, rounds, hashes)
        session.run.write_results(results.as_dict())
    return results


def train_and_measure(
    session: Session[Any], contexts: Sequence[Context], heldout: Sequence[Context]
) -> list[Round]:
    """Measure the held-out contexts by each method, with all rounds of RL before the last one; what
    each round did.
    """
    methods = session.settings.eval.methods
    for method in methods:
        if method != SEAL:
            evaluate(session, method, heldout)
    if not session.settings.rl.rounds:
        return []
    rounds, policy = run_rounds(session, contexts, heldout=heldout)
    if SEAL in methods:
        evaluate(session, SEAL, heldout, policy)
    return rounds


def _results(
    session: Session[Any], kind: str, rounds: Sequence[Round], hashes: dict[str, str]
) -> Results:
    settings, ledger = session.settings, session.run.ledger
    methods = [method for method in settings.eval.methods if method != SEAL or settings.rl.rounds]
    scores = {method: context_scores(ledger, method, session.task) for method in methods}
    compared = compare(on_shared(scores))
    return Results(
        experiment=kind,
        rows=compared.rows,
        paired=compared.paired,
        contexts=scores,
        model={"name": settings.model, "fingerprint": session.lm.fingerprint},
        grader=session.grader.name,
        data=hashes,
        settings=settings.model_dump(mode="json"),
        more={
            "no_verdict": undecided(ledger, methods),
            "rounds": [asdict(done) for done in rounds],
        },
    )


def _hash(contexts: Sequence[Context]) -> str:
    """Of all that a context says and asks."""
    return fingerprint(
        [
            [c.id, c.title, c.text, [[q.id, q.text, *q.answers] for q in c.questions]]
            for c in contexts
        ]
    )


def results_of(folder: str | Path) -> Results | None:
    """The results of a finished run, from its folder; None while it has none.

    Raises:
        RunFolderError: this is not a run's folder.
        FormatError: its results are of another form.
    """
    from selfedit.run.folder import RunFolder

    with RunFolder.read(folder) as run:
        stored = run.results()
    return None if stored is None else Results.read(stored)
