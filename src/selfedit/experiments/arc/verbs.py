"""What ``selfedit arc`` does with a model: filter tasks, time the adapter bank."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import numpy as np

from selfedit.config import Settings
from selfedit.engine.base import Done, TrialBatch
from selfedit.engine.local import run_batch
from selfedit.errors import UsageError
from selfedit.experiments.arc.few_shot import open_arc_run, read_sets
from selfedit.experiments.arc.filter import solved_by_oracle
from selfedit.experiments.arc.notes import notes
from selfedit.experiments.arc.prime import primed_model
from selfedit.inner.job import AdaptJob
from selfedit.lm.load import load_for
from selfedit.rl.opening import RunOptions
from selfedit.run.interrupt import Interrupt
from selfedit.run.progress import SILENT, ProgressSink
from selfedit.run.seeds import derive
from selfedit.storage.files import JsonObject
from selfedit.tasks.arc.contexts import ArcContext
from selfedit.tasks.arc.few_shot import FewShotTask
from selfedit.tasks.arc.self_edit import CHOICES, ArcSelfEdit


def run_filter(folder: str | Path, settings: Settings, **options: Unpack[RunOptions]) -> JsonObject:
    """Which of the settings' tasks Oracle TTT solves; goes on where it stopped, writes and returns
    ``results.json``.
    """
    sets = read_sets(settings)
    with open_arc_run(folder, settings, sets, "arc-filter", **options) as session:
        solved = solved_by_oracle(session, [*sets.train, *sets.heldout])
        results = {
            "experiment": "arc-filter",
            "filter": solved,
            "kept": [name for name, by_oracle in solved.items() if by_oracle],
            "repeats": settings.arc.filter_repeats,
            "notes": notes(settings, solved),
            "model": {"name": settings.model, "fingerprint": session.lm.fingerprint},
            "settings": settings.model_dump(mode="json"),
        }
        session.run.write_results(results)
    return results


def time_together(
    settings: Settings,
    jobs: int,
    *,
    progress: ProgressSink = SILENT,
    interrupt: Interrupt | None = None,
) -> JsonObject:
    """Train and ask several self-edits of the first training task together, then one at a time.

    Raises:
        UsageError: fewer than two, or the task has too few demonstrations to train on.
    """
    if jobs < 2:
        raise UsageError(
            f"{jobs} self-edits cannot be trained together", where="jobs", fix="give 2 or more"
        )
    model = settings.model
    if settings.arc.prime.tokens:
        model = str(primed_model(settings, progress=progress, interrupt=interrupt))
    lm = load_for(settings, model)
    context = read_sets(settings).train[0]
    task = FewShotTask(lm, settings, [context])
    loops = _jobs(task, context, settings, jobs)
    prompts = tuple(task.question(context, question) for question in context.questions)

    def run(batch: list[AdaptJob]) -> Done:
        return run_batch(
            lm,
            TrialBatch(tuple(batch), (prompts,) * len(batch), **vars(task.decoding)),
            lambda _: None,
        )

    run(loops[:1])  # the first pass of a process pays for memory it then keeps
    one_by_one = [run([job]) for job in loops]
    together = run(loops)
    pairs = [
        (a.ids, b.ids)
        for alone, loop in zip(one_by_one, together.loops, strict=True)
        for a, b in zip(alone.loops[0].answers, loop.answers, strict=True)
    ]
    return {
        "task": context.id,
        "jobs": jobs,
        "tokens": sum(loop.tokens for loop in together.loops),
        "seconds": {
            "together": {"training": together.adapting, "answering": together.answering},
            "one at a time": {
                "training": sum(done.adapting for done in one_by_one),
                "answering": sum(done.answering for done in one_by_one),
            },
        },
        "answers": len(pairs),
        "equal": sum(a == b for a, b in pairs),
    }


def _jobs(task: FewShotTask, context: ArcContext, settings: Settings, count: int) -> list[AdaptJob]:
    """Inner loops of self-edits drawn at random, each with its own data, loss, rate, epochs and
    seed.
    """
    rng = np.random.default_rng(settings.seed)
    rates = task.spec.learning_rates or CHOICES.learning_rates or ()
    epochs = task.spec.epochs or CHOICES.epochs or ()
    jobs: list[AdaptJob] = []
    for _ in range(100 * count):
        families = tuple(family for family in task.toolbox.families if rng.random() < 0.5)
        loss = "all" if rng.random() < 0.5 else "output"
        edit = ArcSelfEdit(families, loss, float(rng.choice(rates)), int(rng.choice(epochs)))
        order = derive(settings.seed, "order", "together")
        job = task.inner_loop(
            context, edit, derive(settings.seed, "inner", "together", len(jobs)), order
        )
        jobs += [job] if job is not None else []
        if len(jobs) == count:
            return jobs
    fix = "take a task of two demonstrations or more, and a step budget that leaves room"
    raise UsageError("this task's self-edits train on nothing", where=context.id, fix=fix)
