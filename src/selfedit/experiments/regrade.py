"""A run's table from what its ledger holds: while it is still under way, or with another grader; no
model is needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from selfedit.config import Settings, make_settings
from selfedit.errors import DataError, RunFolderError
from selfedit.experiments.knowledge import cpt, crossed, replay, train
from selfedit.experiments.knowledge.methods import measured_methods, pairs_of
from selfedit.grading.grade_file import judge_report
from selfedit.grading.grader import get_grader
from selfedit.results.compare import compare, on_shared, shares_right
from selfedit.results.results import Results
from selfedit.rl.evaluate import no_verdicts, trials_of
from selfedit.run.folder import RunFolder
from selfedit.run.records import Answer, Trial
from selfedit.storage.files import JsonObject
from selfedit.tasks.knowledge.contexts import data_hash
from selfedit.tasks.task import Context, Question, reply_to

Trials = Mapping[str, Sequence[Trial]]
"""For each method, its held-out trials."""


@dataclass(frozen=True)
class _Asked:
    """What a kind of run asks, by which methods.

    Attributes:
        methods: rows of its table.
        pairs: of those that are there, the differences of its table, the earlier row first.
        contexts: reads the passages asked about.
        hash_of: what the hash of these is called in the run's settings.
        source: where they are from.
    """

    methods: Sequence[str]
    pairs: Callable[[list[str]], Sequence[tuple[str, str]]]
    contexts: Callable[[Settings], list[Context]]
    hash_of: str
    source: object


def _table_of(run: RunFolder, settings: Settings) -> _Asked:
    if run.kind == train.KIND:
        methods = measured_methods(settings)
        return _Asked(methods, pairs_of, train.heldout_contexts, "heldout", settings.heldout)
    if run.kind == replay.KIND:
        return _Asked(
            replay.ROWS,
            replay.replay_pairs,
            replay.replay_contexts,
            "heldout",
            settings.replay.folder,
        )
    if run.kind == crossed.KIND:
        methods = list(crossed.METHODS)
        return _Asked(
            methods, crossed.crossed_pairs, train.heldout_contexts, "heldout", settings.heldout
        )
    if run.kind == cpt.KIND:
        source = ", ".join(settings.cpt.sources) or settings.heldout
        return _Asked(settings.cpt.methods, cpt.cpt_pairs, cpt.cpt_contexts, "asked", source)
    raise RunFolderError(f"a run of kind {run.kind!r} has no such table", where=run.path)


def run_table(
    run: RunFolder, grader: str | None = None, overrides: Mapping[str, Any] | None = None
) -> JsonObject:
    """Rows and paired differences of the methods whose held-out answers are all there.

    The ledger is not changed. A judge's verdicts are kept where its replies are, so that a table
    that was stopped, or is asked for again, asks for nothing twice.

    Args:
        run: opened for reading.
        grader: grade the stored answers with this one; None takes the grades the run gave.
        overrides: dotted settings to take instead of the run's own, of the judge for example.

    Raises:
        RunFolderError: no method is finished, or this is another kind of run.
        DataError: the questions have changed since the run.
        UsageError: no such grader.
        Unavailable: the judge cannot be asked.
    """
    settings = make_settings(
        {k: v for k, v in run.settings.items() if k != "data"}, run.path, overrides
    )
    table = _table_of(run, settings)
    trials = {
        method: stored for method, stored in trials_of(run.ledger, table.methods).items() if stored
    }
    if not trials:
        raise RunFolderError(
            "no held-out passage is answered yet", where=run.path, fix="let the run go on first"
        )
    # A method in the middle of its work has fewer passages than the others.
    counts = {method: _passage_count(stored) for method, stored in trials.items()}
    most = max(counts.values())
    complete = {method: stored for method, stored in trials.items() if counts[method] == most}
    graded, more = (
        _stored_grades(complete)
        if grader is None
        else _again(run, settings, table, complete, grader)
    )
    scores = {
        method: shares_right(_by_context(complete[method], graded[method])) for method in complete
    }
    compared = compare(on_shared(scores), table.pairs(list(scores)))
    return Results(
        experiment=run.kind,
        rows=compared.rows,
        paired=compared.paired,
        contexts=scores,
        grader=grader or settings.answer.grader,
        more=more,
    ).as_dict()


def _stored_grades(trials: Trials) -> tuple[dict[str, list[bool | None]], JsonObject]:
    verdicts = {method: _stored_verdicts(stored) for method, stored in trials.items()}
    return verdicts, {"no_verdict": no_verdicts(trials)}


def _again(
    run: RunFolder, settings: Settings, table: _Asked, trials: Trials, name: str
) -> tuple[dict[str, list[bool | None]], JsonObject]:
    """Grade every answer with another grader, all at once; and what is to be said of it."""
    grader = get_grader(name, settings.judge)
    questions = _questions(run, settings, table)
    answers = {method: _stored_answers(stored) for method, stored in trials.items()}
    replies = [
        reply_to(*questions[answer.question_id], answer.text)
        for answer in chain.from_iterable(answers.values())
    ]
    # One list of all, so that a judge is asked many things at once; then dealt out again.
    grades = iter(grader.grade_all(replies))
    verdicts = {
        method: [grade.correct for grade in islice(grades, len(stored))]
        for method, stored in answers.items()
    }
    missing = {
        method: correct.count(None) for method, correct in verdicts.items() if None in correct
    }
    return verdicts, {"no_verdict": missing} | judge_report(grader)


def _passage_count(trials: Sequence[Trial]) -> int:
    return len({trial.context_id for trial in trials})


def _stored_verdicts(trials: Sequence[Trial]) -> list[bool | None]:
    return [answer.correct for answer in _stored_answers(trials)]


def _stored_answers(trials: Sequence[Trial]) -> list[Answer]:
    return [answer for trial in trials for answer in trial.answers]


def _questions(
    run: RunFolder, settings: Settings, table: _Asked
) -> dict[str, tuple[Context, Question]]:
    contexts = table.contexts(settings)
    if data_hash(contexts) != run.settings["data"][table.hash_of]:
        fix = "put the file back that the run was started with"
        raise DataError(
            "the passages asked about have changed since the run", where=table.source, fix=fix
        )
    return {
        question.id: (context, question) for context in contexts for question in context.questions
    }


def _by_context(
    trials: Sequence[Trial], verdicts: Sequence[bool | None]
) -> dict[str, list[bool | None]]:
    grouped: dict[str, list[bool | None]] = defaultdict(list)
    remaining = iter(verdicts)
    for trial in trials:
        grouped[trial.context_id] += [next(remaining) for _ in trial.answers]
    return grouped
