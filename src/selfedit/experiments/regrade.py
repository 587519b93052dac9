"""A run's table from what its ledger holds: while it is still under way, or with another grader; no model is needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from selfedit.config import Settings, make_settings
from selfedit.errors import DataError, RunFolderError
from selfedit.experiments.methods import measured_methods, pairs_of
from selfedit.grading.grader import Grader, get_grader
from selfedit.outer.evaluate import ROUND, table
from selfedit.run.folder import RunFolder
from selfedit.run.ledger import AnswerRow
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts
from selfedit.tasks.task import Question


def run_table(run: RunFolder, grader: str | None = None) -> dict[str, Any]:
    """Rows and paired differences of the methods whose held-out answers are all there.

    The ledger is not changed.

    Args:
        run: opened for reading.
        grader: grade the stored answers with this one; None takes the grades the run gave.

    Raises:
        RunFolderError: no method is finished, or this is another kind of run.
        DataError: the questions have changed since the run.
        UsageError: no such grader.
    """
    if run.kind != "knowledge":
        raise RunFolderError(f"a run of kind {run.kind!r} has no such table", where=run.path)
    settings = make_settings({k: v for k, v in run.settings.items() if k != "data"}, where=run.path)
    judge = None if grader is None else get_grader(grader)
    questions = None if judge is None else _questions(run, settings)
    graded = {}
    for method in measured_methods(settings):
        rows = run.ledger.answers(f"eval:{method}", ROUND)
        if rows:
            graded[method] = _scores(rows, judge, questions or {})
    complete = {m: s for m, s in graded.items() if len(s) == max(map(len, graded.values()))}
    if not complete:
        raise RunFolderError("no held-out passage is answered yet", where=run.path, fix="let the run go on first")
    return {
        **table(complete, pairs_of(list(complete))),
        "contexts": complete,
        "grader": grader or settings.answer.grader,
    }


def _questions(run: RunFolder, settings: Settings) -> dict[str, Question]:
    contexts = load_contexts(settings.heldout or [], require_questions=True)[: settings.heldout_contexts]
    if data_hash(contexts) != run.settings["data"]["heldout"]:
        fix = "put the file back that the run was started with"
        raise DataError("the held-out passages have changed since the run", where=settings.heldout, fix=fix)
    return {question.id: question for context in contexts for question in context.questions}


def _scores(rows: list[AnswerRow], judge: Grader | None, questions: Mapping[str, Question]) -> dict[str, float]:
    grades: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        grades[row.context_id].append(_grade(row, judge, questions))
    return {context: sum(values) / len(values) for context, values in grades.items()}


def _grade(row: AnswerRow, judge: Grader | None, questions: Mapping[str, Question]) -> bool:
    if judge is None:
        return bool(row.correct)
    question = questions[row.question_id]
    return judge.grade(question.text, question.answers, row.text).correct
