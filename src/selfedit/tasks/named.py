"""The task that a run's settings name.

A task of one's own is a class made with the model and the run's settings. Its contexts are read as
passages with questions, unless it has a static method ``load_contexts`` that makes them of what
``train`` and ``heldout`` say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeGuard, runtime_checkable

from selfedit.config import Settings
from selfedit.config.choice import load_named
from selfedit.errors import UsageError
from selfedit.lm.load import LanguageModel
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import AnyTask, Context

TASKS = {"knowledge": "selfedit.tasks.knowledge.task:KnowledgeTask"}
"""Those that settings name; few-shot ARC has verbs of its own."""

MakeTask = Callable[[LanguageModel, Settings], AnyTask]


@runtime_checkable
class ContextLoader(Protocol):
    """A task that knows how its contexts are stored."""

    @staticmethod
    def load_contexts(source: str) -> Sequence[Context]:
        """The contexts that ``train`` or ``heldout`` stands for."""
        ...


def task_of(settings: Settings) -> MakeTask:
    """What makes the task that ``task`` names.

    Raises:
        UsageError: there is none of that name.
    """
    return load_named(settings.task, TASKS, "task")


def is_knowledge(settings: Settings) -> bool:
    """Whether the settings' task puts passages into the weights.

    Raises:
        UsageError: there is no task of that name.
    """
    return _of_passages(task_of(settings))


def _of_passages(task: MakeTask) -> TypeGuard[type[KnowledgeTask]]:
    return isinstance(task, type) and issubclass(task, KnowledgeTask)


def knowledge_task(settings: Settings) -> type[KnowledgeTask]:
    """The same where passages go into the weights, whatever is done there.

    Raises:
        UsageError: it is another task, which `selfedit train` alone can run.
    """
    task = task_of(settings)
    if _of_passages(task):
        return task
    fix = "derive it from selfedit.KnowledgeTask, or run it with `selfedit train`"
    raise UsageError(f"{settings.task} is not a task of passages", where="task", fix=fix)


def contexts_of(settings: Settings) -> tuple[list[Context], list[Context]]:
    """What the run's task learns on, and what it is measured on.

    Raises:
        UsageError: more held-out contexts are asked for than there are.
        DataError, FormatError: the data cannot be used.
    """
    task = task_of(settings)
    # A task that says how its contexts are stored is asked; else they are passages.
    load = task.load_contexts if isinstance(task, ContextLoader) else load_contexts
    # Without rounds nothing is learned on, so nothing is read.
    train = list(load(settings.train)) if settings.rl.rounds else []
    heldout = [] if settings.heldout is None else list(load(settings.heldout))
    count = settings.heldout_contexts
    if count is not None and count > len(heldout):
        raise UsageError(
            f"{count} held-out contexts asked for, there are {len(heldout)}",
            where="heldout",
            fix="lower heldout_contexts",
        )
    return train, heldout[:count]
