"""One context: its passage, its self-edits over all rounds, what each was trained to, answered and
earned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from selfedit.run.records import Phase, Place, SelfEditRow, Trial
from selfedit.serving.failures import Failure
from selfedit.storage.files import JsonObject
from selfedit.view.opened import RunReader
from selfedit.view.overview import place_name

MOST_EDITS = 400
"""Self-edits of a context that are listed."""
MOST_WHOLE = 24
"""And shown with all their answers at once."""
MOST_LETTERS = 100_000
"""Of a text."""


def context_page(reader: RunReader, number: int) -> JsonObject:
    """A context and its self-edits in short.

    Raises:
        Failure: there is no such context.
    """
    name, edits = reader.index.of_context(number, MOST_EDITS)
    if name is None:
        raise Failure(404, "there is no such context in this run")
    passage = reader.passages.get(name)
    known = passage is not None
    return {
        "name": name,
        "title": passage.title if passage else "",
        "passage": passage.text[:MOST_LETTERS] if passage else "",
        "questions": [
            {"id": question.id, "text": question.text, "answers": list(question.answers)}
            for question in (passage.questions if passage else ())
        ],
        "edits": edits,
        "fixed": _fixed(reader, name),
        "note": "" if known else _NO_TEXTS,
    }


_NO_TEXTS = (
    "Questions are shown by their ids: the run's data is not a file of passages, is not where the"
    " page was started, or has changed since the run began."
)


def _fixed(reader: RunReader, name: str) -> list[JsonObject]:
    """Held-out answers without a self-edit of the model's: its own as it is, those after the
    passage alone.
    """
    methods: list[JsonObject] = []
    for at in reader.index.places.values():
        if at.phase is Phase.EVAL:
            edits, trials = reader.run.ledger.of_context(at, name, [0])
            if trials and not edits:
                one = {"place_name": at.method, "trials": list(map(_trial, trials))}
                methods.append(one)
    return methods


def whole_edits(reader: RunReader, numbers: Sequence[int]) -> list[JsonObject]:
    """Self-edits with their texts, trainings and answers."""
    rows = reader.index.rows(list(numbers)[:MOST_WHOLE], 0)
    # One look into the ledger for each place, whatever the order they were asked for in.
    together = defaultdict[tuple[int, str], list[JsonObject]](list)
    for row in rows:
        together[int(str(row["place"])), str(row["name"])].append(row)
    for (number, name), of_place in together.items():
        at = reader.index.places[number]
        candidates = [int(str(row["candidate"])) for row in of_place]
        _fill(at, of_place, *reader.run.ledger.of_context(at, name, candidates))
    return rows


def _fill(
    at: Place, rows: list[JsonObject], edits: Sequence[SelfEditRow], trials: Sequence[Trial]
) -> None:
    """Add to each row what the ledger holds of it."""
    texts = {edit.candidate: edit for edit in edits}
    for row in rows:
        edit = texts.get(row["candidate"])
        row["place_name"] = place_name(at)
        row["text"] = edit.text[:MOST_LETTERS] if edit else ""
        row["rejected"] = edit.rejected if edit else None
        row["directives"] = edit.directives_json if edit else None
        row["trials"] = [_trial(one) for one in trials if one.candidate == row["candidate"]]


def _trial(trial: Trial) -> JsonObject:
    training = trial.training
    return {
        "repeat": trial.repeat,
        "loss": training.final_loss if training else None,
        "steps": training.steps if training else None,
        "tokens": training.tokens if training else None,
        "answers": [
            {
                "question": answer.question_id,
                "text": answer.text[:MOST_LETTERS],
                "correct": answer.correct,
                "score": answer.score,
                "grader": answer.grader,
            }
            for answer in trial.answers
        ],
        "likelihoods": [
            {"question": one.question_id, "value": one.value} for one in trial.likelihoods
        ],
    }
