"""Replay: the published self-edits as training text for another learner. Does the published order
hold for it?

For each of the published passages: untouched, trained on the passage alone, and on the passage with
the self-edits that the 7B model wrote before RL, after round 1, after round 2, or that GPT-4.1
wrote. The inner seeds of a passage are the same for all, so differences are paired.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from selfedit.config import Settings
from selfedit.errors import DataError
from selfedit.experiments.knowledge.edit_statistics import shape_of
from selfedit.experiments.knowledge.methods import by_seed, measure, measure_written
from selfedit.experiments.knowledge.summary import method_results
from selfedit.results.results import Difference
from selfedit.rl.evaluate import context_scores, held_out
from selfedit.rl.opening import RunOptions, open_passages
from selfedit.tasks.knowledge.contexts import contexts_from, data_hash
from selfedit.tasks.knowledge.published import REPLAY, REPLAY_PAIRED
from selfedit.tasks.knowledge.seal_data import FETCH
from selfedit.tasks.knowledge.written import SelfEditFile, read_self_edits
from selfedit.tasks.task import Context

KIND = "replay"
WRITERS = {"no-rl": "no_rl", "round-1": "round_1", "round-2": "round_2", "gpt-4.1": "gpt4_1"}
"""Rows with self-edits, in the published order, and the setting that names the file of each."""
ROWS = ("base", "passage", *WRITERS)
PAIRS = (
    ("base", "passage"),
    ("passage", "no-rl"),
    ("no-rl", "round-1"),
    ("round-1", "round-2"),
    ("round-2", "gpt-4.1"),
    ("no-rl", "round-2"),
    ("gpt-4.1", "round-2"),
    ("passage", "round-2"),
)
"""Neighbours in the published order, and the paper's own differences; the earlier row first."""

_FETCH = (
    f"{FETCH}, or set replay.folder to where they are and replay.no_rl, replay.round_1,"
    " replay.round_2, replay.gpt4_1 to their names there (.json, also gzipped)"
)


def run_replay(
    folder: str | Path, settings: Settings, **options: Unpack[RunOptions]
) -> dict[str, Any]:
    """Start the experiment, or go on with it where it stopped; returns what is written to
    ``results.json``.

    Args:
        folder: the run's folder; made if it is not there.
        settings: ``replay``, ``inner``, ``edit`` (how lines are read), ``answer``, ``eval.samples``
            (published self-edits used a passage) and ``eval.repeats`` (inner seeds) are used.
        options: see `RunOptions`.

    Raises:
        DataError: the published files are not there or do not fit together; says where to get them.
    """
    contexts, texts, hashes = replay_data(settings)
    with open_passages(folder, settings, hashes, kind=KIND, **options) as session:
        for row in ROWS:
            if row in texts:
                measure_written(session, row, contexts, texts[row])
            else:
                measure(session, row, contexts)
        ledger = session.run.ledger
        scores = {row: context_scores(ledger, row) for row in ROWS}
        compared: Any = {"pairs": PAIRS, "published": REPLAY, "published_pairs": REPLAY_PAIRED}
        edits = {row: ledger.self_edits(held_out(row)) for row in WRITERS}
        numbers = method_results(KIND, session, scores, hashes, questioned=contexts, **compared)
        more = {
            **numbers.more,
            "by_seed": {row: by_seed(ledger, row) for row in ROWS},
            "order": [_order_step(gap) for gap in numbers.paired[: len(ROWS) - 1]],
            "self_edits": [
                {"policy": row, **shape_of(texts, session.task)} for row, texts in edits.items()
            ],
        }
        results = replace(numbers, more=more).as_dict()
        session.run.write_results(results)
    return results


Texts = dict[str, dict[str, list[str]]]
"""For each writer and passage its self-edits."""


def replay_data(settings: Settings) -> tuple[list[Context], Texts, dict[str, str]]:
    """The passages, the published self-edits of them by each writer, and hashes.

    Raises:
        DataError: the published files are not there or do not fit together; says where to get them.
    """
    files = {row: _read_writer(settings, name) for row, name in WRITERS.items()}
    contexts = _published_passages(files["no-rl"], settings.replay.passages)
    texts = {row: file.of(contexts, settings.eval.samples) for row, file in files.items()}
    hashes = {row: file.sha256 for row, file in files.items()} | {"heldout": data_hash(contexts)}
    return contexts, texts, hashes


def replay_pairs(methods: Collection[str]) -> list[tuple[str, str]]:
    """What is compared of these rows, the earlier first."""
    return [(b, a) for b, a in PAIRS if b in methods and a in methods]


def replay_contexts(settings: Settings) -> list[Context]:
    """The passages that a run with these settings asks about."""
    return _published_passages(_read_writer(settings, WRITERS["no-rl"]), settings.replay.passages)


def _read_writer(settings: Settings, name: str) -> SelfEditFile:
    path = Path(settings.replay.folder) / getattr(settings.replay, name)
    return read_self_edits(path, fix=_FETCH)


def _published_passages(file: SelfEditFile, most: int | None) -> list[Context]:
    """The first passages of the published files, with their questions."""
    contexts = contexts_from(file.records, file.path, require_questions=True)
    if most is not None and most > len(contexts):
        what = f"{most} passages asked for, the published file has {len(contexts)}"
        raise DataError(what, where=file.path, fix="lower replay.passages")
    return contexts[:most]


def _order_step(gap: Difference) -> dict[str, Any]:
    """One step of the published order: whether it holds here, and at how many standard errors."""
    z = gap.difference / gap.se if gap.se else None
    return {"from": gap.b, "to": gap.a, "holds": gap.difference > 0, "z": z}
