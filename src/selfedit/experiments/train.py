"""Reinforcement learning on any task: held-out contexts before it, rounds of it, held-out contexts
after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar, Unpack

from selfedit.config import Settings
from selfedit.grading.grader import Grader, get_grader
from selfedit.lm.load import LanguageModel
from selfedit.results.compare import compare, on_shared
from selfedit.results.results import Results
from selfedit.rl.evaluate import context_scores, evaluate, undecided
from selfedit.rl.opening import RunOptions, open_run
from selfedit.rl.plan import plan_rounds
from selfedit.rl.rest_em import run_rounds as run_rounds
from selfedit.rl.rounds import Round
from selfedit.rl.session import AnySession
from selfedit.storage.files import fingerprint
from selfedit.tasks.named import contexts_of, task_of
from selfedit.tasks.task import AnyTask, Context

T = TypeVar("T", bound=AnyTask)
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
    **options: Unpack[RunOptions],
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
        options: see `RunOptions`.

    Raises:
        UsageError, DataError: settings or contexts that cannot be used; nothing is written.
        SettingsChanged, RunFolderError, StorageFull, Interrupted: see `selfedit.errors`.
    """
    if settings.rl.rounds:
        plan_rounds(settings, contexts)
    hashes = {"train": _hash(contexts), "heldout": _hash(heldout)}
    with open_run(folder, settings, hashes, grader, make_task, kind=kind, **options) as session:
        rounds = train_and_measure(session, contexts, heldout)
        results = _task_results(session, kind, rounds, hashes)
        session.run.write_results(results.as_dict())
    return results


def train_named(folder: str | Path, settings: Settings, **options: Unpack[RunOptions]) -> Results:
    """A run of the task, on the contexts and with the grader, that its settings name.

    ``task`` is a class of one's own as ``package.module:Name``; ``train`` and ``heldout`` are files
    of passages with questions, or what the task's own ``load_contexts`` makes of them.

    Raises:
        UsageError: a name stands for nothing; and all that `train` raises.
    """
    contexts, heldout = named_data(settings)
    grader = get_grader(settings.answer.grader, settings.judge)
    return train(folder, settings, task_of(settings), contexts, heldout, grader, **options)


def named_data(settings: Settings) -> tuple[list[Context], list[Context]]:
    """What the task that the settings name learns on, and what it is measured on.

    Raises:
        UsageError, DataError, FormatError: settings or data that cannot be used.
    """
    contexts, heldout = contexts_of(settings)
    if settings.rl.rounds:
        plan_rounds(settings, contexts)
    return contexts, heldout


def train_and_measure(
    session: AnySession, contexts: Sequence[Context], heldout: Sequence[Context]
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


def _task_results(
    session: AnySession, kind: str, rounds: Sequence[Round], hashes: dict[str, str]
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
    parts: list[object] = []
    for context in contexts:
        questions = [[one.id, one.text, *one.answers] for one in context.questions]
        parts.append([context.id, context.title, context.text, questions])
    return fingerprint(parts)


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
