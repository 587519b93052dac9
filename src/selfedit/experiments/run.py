"""What every experiment begins and ends with: the run's folder, the model, the engine, and results
of one shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from selfedit.config import Settings
from selfedit.engine.local import LocalEngine
from selfedit.engine.processes import engine_for
from selfedit.grading.grader import Grader
from selfedit.lm.load import LanguageModel, load_for
from selfedit.results.compare import compare, on_shared
from selfedit.results.results import Published, Reference, Results
from selfedit.rl.evaluate import undecided
from selfedit.rl.session import Session
from selfedit.run.environment import environment
from selfedit.run.folder import RunFolder
from selfedit.run.interrupt import Interrupt
from selfedit.run.progress import SILENT, ProgressSink
from selfedit.tasks.knowledge.published import SOURCE
from selfedit.tasks.task import Task

T = TypeVar("T", bound=Task[Any, Any])


@contextmanager
def open_run(
    folder: str | Path,
    settings: Settings,
    hashes: Mapping[str, str],
    grader: Grader,
    make_task: Callable[[LanguageModel, Settings], T],
    *,
    kind: str,
    progress: ProgressSink = SILENT,
    interrupt: Interrupt | None = None,
    lm: LanguageModel | None = None,
    model: Callable[[], str] | None = None,
    workers: bool = True,
) -> Iterator[Session[T]]:
    """A session on the run in ``folder``, new or gone on with; its engine is stopped at the end.

    Args:
        folder: the run's folder; made if it is not there.
        settings: frozen in the folder at the first start, with ``hashes``.
        hashes: of the data.
        grader: says whether an answer is right.
        make_task: makes the task of a loaded model.
        kind: the run's kind.
        progress: where progress goes.
        interrupt: how the user stops the run.
        lm: the model, if it is loaded already.
        model: gives the name or folder of the model to load, if it is not the settings'; asked once
            the folder is open.
        workers: whether the experiment has inner loops for worker processes.
    """
    frozen = settings.model_dump(mode="json") | {"data": dict(hashes)}
    with RunFolder.open(folder, frozen, kind=kind) as run:
        run.record_environment(environment(dict(hashes)))
        name = settings.model if model is None else model()
        lm = lm or load_for(settings, name)
        run.keep_model(name, lm.fingerprint)
        engine = engine_for(lm, settings, name) if workers else LocalEngine(lm)
        try:
            task = make_task(lm, settings)
            yield Session(
                run, lm, task, settings, grader, progress, interrupt or Interrupt(), engine
            )
        finally:
            engine.close()


def method_results(
    kind: str,
    session: Session[Any],
    scores: Mapping[str, Mapping[str, float]],
    hashes: Mapping[str, str],
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    published: Mapping[str, Reference] | None = None,
    published_pairs: Mapping[tuple[str, str], Reference] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Results:
    """The results of methods measured on held-out passages, and what ``more`` an experiment found.

    No times and no dates: equal runs give equal bytes.
    """
    compared = compare(on_shared(scores), pairs)
    return Results(
        experiment=kind,
        rows=compared.rows,
        paired=compared.paired,
        published=Published(SOURCE, published or {}, published_pairs or {}),
        contexts=scores,
        model={"name": session.settings.model, "fingerprint": session.lm.fingerprint},
        grader=session.settings.answer.grader,
        data=hashes,
        settings=session.settings.model_dump(mode="json"),
        more={"no_verdict": undecided(session.run.ledger, scores), **(more or {})},
    )
