"""Which tasks Oracle TTT solves with a given model: the paper measured on those alone."""

from __future__ import annotations

from collections.abc import Sequence

from selfedit.rl.scoring import run_trials
from selfedit.rl.session import Session
from selfedit.rl.trial import PlannedTrial, marks_of
from selfedit.run.ledger import Ledger
from selfedit.run.records import Phase, Place
from selfedit.run.seeds import derive
from selfedit.tasks.arc.contexts import ArcContext
from selfedit.tasks.arc.few_shot import FewShotTask

PLACE = Place(Phase.FILTER)


def solved_by_oracle(
    session: Session[FewShotTask], contexts: Sequence[ArcContext]
) -> dict[str, bool]:
    """For each task whether the human-tuned recipe solves it in at least one of
    ``arc.filter_repeats`` trials.

    Every trial is in the ledger under the phase ``filter``. The seeds are its own: the table's
    Oracle row is measured anew, so it need not be 100 %.
    """
    seed = session.settings.seed
    planned = [
        PlannedTrial(
            context,
            0,
            repeat,
            session.task.fixed("oracle", context),
            derive(seed, "inner", PLACE.phase.value, context.id, repeat),
            derive(seed, "order", PLACE.phase.value, repeat),
        )
        for context in contexts
        for repeat in range(session.settings.arc.filter_repeats)
    ]
    run_trials(session, PLACE, planned)
    return filter_record(session.run.ledger, session.task)


def filter_record(ledger: Ledger, task: FewShotTask) -> dict[str, bool]:
    """What the filter found, from the ledger: each task, solved or not; empty where nothing was
    filtered.
    """
    solved: dict[str, bool] = {}
    for (context, _, _), marks in marks_of(ledger.trials(PLACE), task).items():
        solved[context] = solved.get(context, False) or any(mark == 1 for mark in marks)
    return solved
