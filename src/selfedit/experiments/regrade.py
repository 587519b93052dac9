"""A run's table from what its ledger holds: while it is still under way, or with another grader; no
model is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from selfedit.config import Settings, make_settings
from selfedit.errors import DataError, RunFolderError
from selfedit.experiments.knowledge import cpt, crossed, replay, train
from selfedit.experiments.knowledge.methods import measured_methods, pairs_of
from selfedit.grading.grade_file import judge_report
from selfedit.grading.grader import get_grader
from selfedit.results.compare import compare, on_shared
from selfedit.results.results import Results
from selfedit.rl.evaluate import context_scores, held_out, undecided
from selfedit.run.folder import RunFolder
from selfedit.run.ledger import Ledger
from selfedit.run.records import Answer
from selfedit.storage.files import JsonObject
from selfedit.tasks.knowledge.contexts import data_hash
from selfedit.tasks.knowledge.heldout import heldout_contexts
from selfedit.tasks.task import Context, Question, reply_to

AT_ONCE = 4096
"""Answers that are graded together."""


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
        return _Asked(methods, pairs_of, heldout_contexts, "heldout", settings.heldout)
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
        return _Asked(methods, crossed.crossed_pairs, heldout_contexts, "heldout", settings.heldout)
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
    counts = {method: run.ledger.context_count(held_out(method)) for method in table.methods}
    # A method in the middle of its work has fewer passages than the others.
    most = max(counts.values(), default=0)
    if not most:
        raise RunFolderError(
            "no held-out passage is answered yet", where=run.path, fix="let the run go on first"
        )
    complete = [method for method in table.methods if counts[method] == most]
    if grader is None:
        scores = {method: context_scores(run.ledger, method) for method in complete}
        more: JsonObject = {"no_verdict": undecided(run.ledger, complete)}
    else:
        scores, more = _again(run, settings, table, complete, grader)
    compared = compare(on_shared(scores), table.pairs(list(scores)))
    return Results(
        experiment=run.kind,
        rows=compared.rows,
        paired=compared.paired,
        contexts=scores,
        grader=grader or settings.answer.grader,
        more=more,
    ).as_dict()


@dataclass
class _Tally:
    """One method's answers, counted by context as they are graded."""

    right: Counter[str] = field(default_factory=Counter[str])
    judged: Counter[str] = field(default_factory=Counter[str])
    undecided: int = 0

    def add(self, context: str, correct: bool | None) -> None:
        """Count one answer."""
        if correct is None:
            self.undecided += 1
            return
        self.judged[context] += 1
        self.right[context] += correct

    @property
    def shares(self) -> dict[str, float]:
        """The share of right answers of each context with any that was judged."""
        return {context: self.right[context] / count for context, count in self.judged.items()}


def _again(
    run: RunFolder, settings: Settings, table: _Asked, methods: Sequence[str], name: str
) -> tuple[dict[str, dict[str, float]], JsonObject]:
    """Grade every answer with another grader, and what is to be said of it. Many are graded at
    once, since a judge is asked many things at once, but never all are in memory.
    """
    grader = get_grader(name, settings.judge)
    questions = _questions(run, settings, table)
    tallies = {method: _Tally() for method in methods}
    answers = _stored_answers(run.ledger, methods)
    while batch := list(islice(answers, AT_ONCE)):
        replies = [
            reply_to(*questions[each.answer.question_id], each.answer.text) for each in batch
        ]
        for each, grade in zip(batch, grader.grade_all(replies), strict=True):
            tallies[each.method].add(each.context, grade.correct)
    missing = {method: tally.undecided for method, tally in tallies.items() if tally.undecided}
    shares = {method: tally.shares for method, tally in tallies.items()}
    return shares, {"no_verdict": missing} | judge_report(grader)


class _GivenAnswer(NamedTuple):
    """An answer as the ledger has it."""

    method: str
    context: str
    answer: Answer


def _stored_answers(ledger: Ledger, methods: Sequence[str]) -> Iterator[_GivenAnswer]:
    for method in methods:
        for trial in ledger.each_trial(held_out(method)):
            for answer in trial.answers:
                yield _GivenAnswer(method, trial.context_id, answer)


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
