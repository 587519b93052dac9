"""Pictures of a few-shot run: every measured task with the attempts of the last method that has
answered it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from selfedit.config import ArcSettings, make_settings
from selfedit.rl.evaluate import held_out
from selfedit.run.folder import RunFolder
from selfedit.run.seeds import derive
from selfedit.storage.neutral import file_name
from selfedit.tasks.arc.answering import ballots
from selfedit.tasks.arc.contexts import FROM_TRAIN, arc_context, read_tasks
from selfedit.tasks.arc.grids import Grid
from selfedit.tasks.arc.render import save_picture
from selfedit.tasks.arc.task import ArcTask

MOST = 12
"""Pictures at the most."""
METHODS = ("seal", "own", "oracle", "base")
"""Whose attempts are shown: the first of these that has answered."""


def task_pictures(run: RunFolder, into: Path) -> list[Path]:
    """Write the pictures of a few-shot run's measured tasks into a folder; none for another kind of
    run.
    """
    if run.kind != "few-shot":
        return []
    settings = make_settings({k: v for k, v in run.settings.items() if k != "data"}, where=run.path)
    trials = next((stored for m in METHODS if (stored := run.ledger.trials(held_out(m)))), [])
    first = {trial.context_id: trial for trial in reversed(trials)}
    tasks = {task.id: task for task in _shown_tasks(settings.arc)}
    seed = derive(settings.seed, "views")
    written = []
    for name in sorted(first)[:MOST]:
        context = arc_context(tasks[name], seed, settings.arc.answer)
        attempts: Sequence[Grid] = ballots(context, first[name], settings.arc.answer.attempts)[
            0
        ].attempts
        written.append(
            save_picture(
                context.task, into / file_name(name, before="task-", after=".png"), attempts
            )
        )
    return written


def _shown_tasks(settings: ArcSettings) -> list[ArcTask]:
    train = read_tasks(settings.train, settings.train_ids, settings)
    if settings.heldout == FROM_TRAIN:
        return train
    return [*train, *read_tasks(settings.heldout, settings.heldout_ids, settings)]
