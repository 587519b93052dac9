"""How every run is opened: its folder with the settings frozen in it, then the model, the task and
the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

from selfedit.config import Settings
from selfedit.engine.local import LocalEngine
from selfedit.engine.processes import workers_for
from selfedit.grading.grader import Grader, get_grader
from selfedit.lm.load import LanguageModel, load_for, usable_device
from selfedit.rl.run_cards import write_cards
from selfedit.rl.session import Session
from selfedit.run.environment import environment
from selfedit.run.folder import RunFolder
from selfedit.run.interrupt import Interrupt
from selfedit.run.progress import SILENT, ProgressSink
from selfedit.sampling.base import SAMPLERS
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.named import knowledge_task
from selfedit.tasks.task import AnyTask
from selfedit.trackers.base import tracker_classes
from selfedit.trackers.following import following

T = TypeVar("T", bound=AnyTask)


class RunOptions(TypedDict, total=False):
    """What every run takes besides its folder and settings.

    Keys:
        progress: where progress goes; nowhere unless given.
        interrupt: how the user stops the run; the same call goes on where it stopped.
        lm: the model, if it is loaded already; its weights are changed by RL with
            ``rl.mstep.merge``.
    """

    progress: ProgressSink
    interrupt: Interrupt | None
    lm: LanguageModel | None


def check_named(settings: Settings) -> None:
    """See that what settings name is there, before a folder freezes them.

    Raises:
        UsageError, Unavailable: a tracker, grader, sampler or device that is not.
    """
    tracker_classes(settings.run.trackers)
    get_grader(settings.answer.grader, settings.judge)
    SAMPLERS.load(settings.sampler)
    replace(SAMPLERS, setting="eval.sampler").load(settings.eval.sampler)
    usable_device(settings.device)


@contextmanager
def open_run(
    folder: str | Path,
    settings: Settings,
    hashes: Mapping[str, str],
    grader: Grader,
    make_task: Callable[[LanguageModel, Settings], T],
    *,
    kind: str,
    model: Callable[[], str] | None = None,
    workers: bool = True,
    **options: Unpack[RunOptions],
) -> Iterator[Session[T]]:
    """A session on the run in ``folder``, new or gone on with; its engine is stopped at the end.

    Args:
        folder: the run's folder; made if it is not there.
        settings: frozen in the folder at the first start, with ``hashes``.
        hashes: of the data.
        grader: says whether an answer is right.
        make_task: makes the task of a loaded model.
        kind: the run's kind.
        model: gives the name or folder of the model to load, if it is not the settings'; asked once
            the folder is open.
        workers: whether the experiment has inner loops for worker processes.
        options: see `RunOptions`.
    """
    check_named(settings)
    # Frozen as JSON, not as the model: what is compared later is what stands in the file.
    frozen = settings.model_dump(mode="json") | {"data": dict(hashes)}
    with (
        open_folder(folder, frozen, hashes, kind=kind) as run,
        open_session(
            run, settings, grader, make_task, model, workers=workers, **options
        ) as session,
    ):
        yield session


def open_passages(
    folder: str | Path,
    settings: Settings,
    hashes: Mapping[str, str],
    *,
    kind: str,
    workers: bool = True,
    **options: Unpack[RunOptions],
) -> AbstractContextManager[Session[KnowledgeTask]]:
    """`open_run` on passages, with the grader that the settings name."""
    grader, task = get_grader(settings.answer.grader, settings.judge), knowledge_task(settings)
    return open_run(folder, settings, hashes, grader, task, kind=kind, workers=workers, **options)


@contextmanager
def open_folder(
    folder: str | Path, frozen: Mapping[str, Any], hashes: Mapping[str, str], *, kind: str
) -> Iterator[RunFolder]:
    """A run's folder with its settings frozen and its environment noted; no model is loaded.

    Args:
        folder: made if it is not there.
        frozen: what must be the same when the run is gone on with.
        hashes: of the data.
        kind: the run's kind.
    """
    with RunFolder.open(folder, frozen, kind=kind) as run:
        run.record_environment(environment(dict(hashes)))
        yield run


@contextmanager
def open_session(
    run: RunFolder,
    settings: Settings,
    grader: Grader,
    make_task: Callable[[LanguageModel, Settings], T],
    model: Callable[[], str] | None = None,
    *,
    workers: bool = True,
    **options: Unpack[RunOptions],
) -> Iterator[Session[T]]:
    """The model, the task and the engine of a run whose folder is open; see `open_run`."""
    name = settings.model if model is None else model()
    # Only when the folder is open: a folder of other settings is refused before a model is loaded.
    engine = workers_for(settings, name) if workers else None
    try:
        lm = options.get("lm") or load_for(settings, name)
        # Other weights under the same name are another run.
        run.keep_model(name, lm.fingerprint)
        engine = engine or LocalEngine(lm)
        session = Session(
            run,
            lm,
            make_task(lm, settings),
            settings,
            grader,
            options.get("progress", SILENT),
            options.get("interrupt") or Interrupt(),
            engine,
        )
        with following(run, settings.run):
            yield session
        # The run has its results by now: policies' cards get the held-out figures.
        write_cards(session)
    finally:
        # Also after an error: worker processes would outlive the run.
        if engine is not None:
            engine.close()
