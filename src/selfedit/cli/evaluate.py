"""``selfedit evaluate``: the table of one run or of several, or a model's accuracy on questions
from a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from selfedit.cli.command import say, working
from selfedit.cli.output import percent, print_json, print_results, print_table
from selfedit.cli.setting_options import overrides_from, with_settings
from selfedit.errors import UsageError
from selfedit.storage.bounded import is_there


@with_settings("judge", "prompting")
def evaluate(
    run_or_model: str,
    /,
    *more: Path,
    data: str | None = None,
    adapter: Path | None = None,
    grader: str | None = None,
    json: bool = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False,
    **overrides: Any,
) -> None:
    """The table of a run, also with another grader; or a model's accuracy on a file of questions.

    The table of a run needs no model; several seeds make one. A model is asked with
    `selfedit evaluate smollm2-135m --data questions.json`

    Args:
        run_or_model: a run's folder, or a model: a short name, a folder, a hub id.
        more: further runs with the same held-out passages: one table of all.
        data: a JSON file with passages and questions, or corpus:heldout; needed for a model.
        adapter: the folder of an adapter for the model.
        grader: concise, contains, exact, f1, calibrated or judge; a run's stored answers are graded
            again, the run is left as it is.
        json: print JSON.
        quiet: no progress.
    """
    judge = overrides_from(overrides)
    if is_there(Path(run_or_model) / "run.json") and data is None:
        _evaluate_runs([Path(run_or_model), *more], grader, judge, json)
        return
    if more:
        what = f"only runs can be put together, and {run_or_model} is none"
        raise UsageError(
            what, where="evaluate", fix="give folders that `selfedit train` or `selfedit demo` made"
        )
    if data is None:
        fix = "name questions with --data FILE, or give a run's folder"
        raise UsageError(
            "this is not a run's folder, and a model needs questions", where=run_or_model, fix=fix
        )
    _evaluate_model(run_or_model, data, adapter, grader, judge, json, quiet)


def _evaluate_runs(
    folders: list[Path], grader: str | None, judge: dict[str, Any], json: bool
) -> None:
    from selfedit.results.schema import as_form

    tables = [
        (str(folder), as_form(_run_results(folder, grader, judge), dict[str, Any], folder))
        for folder in folders
    ]
    results = tables[0][1]
    if len(tables) > 1:
        from selfedit.results.compare import pool_results
        from selfedit.results.results import Results

        results = pool_results([(name, Results.read(table)) for name, table in tables]).as_dict()
    if json:
        print_json(results)
    elif "rows" in results:
        print_results(results)
    elif "documents" in results:
        from selfedit.cli.adapt_output import print_library
        from selfedit.documents.upkeep import LibraryResults

        print_library(as_form(results, LibraryResults))
    else:
        from selfedit.cli.adapt_output import print_recall
        from selfedit.documents.outcome import AdaptResults

        print_recall(as_form(results, AdaptResults))


def _run_results(folder: Path, grader: str | None, judge: dict[str, Any]) -> dict[str, Any]:
    from selfedit.run.folder import RunFolder

    with RunFolder.read(folder) as run:
        results = run.results() if grader is None else None
        if results is not None:
            return results
        from selfedit.experiments.regrade import run_table

        if grader is None:
            say(f"{folder} is not finished: this is what it has so far")
        return run_table(run, grader, judge)


def _evaluate_model(
    name: str,
    data: str,
    adapter: Path | None,
    grader: str | None,
    overrides: dict[str, Any],
    json: bool,
    quiet: bool,
) -> None:
    from selfedit.config import read_settings
    from selfedit.grading.grader import get_grader
    from selfedit.lm.peft_files import read_peft_config
    from selfedit.tasks.knowledge.contexts import load_contexts

    contexts = load_contexts(data, require_questions=True)
    settings = read_settings(overrides=overrides)
    grader = grader or settings.answer.grader
    judge = get_grader(grader, settings.judge)
    if adapter is not None:
        read_peft_config(adapter)
    with working(quiet=quiet) as (progress, interrupt):
        from selfedit.cli.fetching import have_model

        have_model(name, quiet=quiet)
        from selfedit.documents.adapt import load_adapter
        from selfedit.documents.recall import ask_questions, recall_accuracies
        from selfedit.grading.stats import mean_se
        from selfedit.lm.load import load
        from selfedit.tasks.named import knowledge_task

        lm = load(name, prompting=settings.prompting)
        learned = None if adapter is None else load_adapter(adapter, lm)
        task = knowledge_task(settings)(lm, settings)
        answers = ask_questions(
            task, contexts, judge, learned, progress=progress, interrupt=interrupt
        )
    accuracy = mean_se(recall_accuracies(answers).values())
    result: dict[str, Any] = {
        "model": name,
        "adapter": adapter,
        "grader": grader,
        "no_verdict": sum(answer.correct is None for answer in answers),
        "accuracy": accuracy.mean,
        "se": accuracy.se,
        "n": accuracy.n,
        "questions": len(answers),
        "answers": answers,
    }
    if json:
        print_json(result)
        return
    row = [name, percent(accuracy.mean), percent(accuracy.se), str(accuracy.n), str(len(answers))]
    print_table(["model", "accuracy %", "se", "n (passages)", "questions"], [row])
