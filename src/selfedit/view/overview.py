"""What a run has done so far, as the page shows it first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfedit.documents.library_state import Entry, read_library
from selfedit.errors import SelfEditError
from selfedit.grading.stats import mean_se
from selfedit.results.layout import HELD_OUT, main_tables, more_tables, notes_of
from selfedit.results.names import PARTS
from selfedit.results.results import Results
from selfedit.results.tabular import Table
from selfedit.run.records import Phase, Place
from selfedit.storage.files import JsonObject
from selfedit.view.listing import read_results
from selfedit.view.opened import RunReader


def overview(reader: RunReader, ids: Mapping[Path, str]) -> JsonObject:
    """Tables, rounds, places and times of a run; of a library its documents.

    Args:
        reader: the run's.
        ids: what clients call the run in a folder.

    What cannot be read is said under ``problems``, and the rest is there.
    """
    run, viewed, problems = reader.run, reader.viewed, list[str]()
    results: Results | None = None
    documents: list[JsonObject] = []
    # A results.json that another program spoilt takes nothing from what the ledger holds.
    try:
        results = read_results(viewed.path)
        documents = _documents(reader, ids)
    except SelfEditError as error:
        problems.append(error.what)
    return {
        "id": viewed.id,
        "name": viewed.name,
        "kind": run.kind,
        "state": viewed.state,
        "model": run.settings.get("model"),
        "settings": _dotted(run.settings),
        "tables": [_table_cells(table) for table in _all_tables(results)],
        "rows": [row.as_dict() for row in results.rows] if results else [],
        "notes": notes_of(results) if results else [],
        "rounds": list(run.rounds()),
        "places": places(reader),
        "timings": _timings(reader),
        "documents": documents,
        "can_ask": _can_ask(reader, documents),
        "problems": problems,
        "indexed": reader.index.done[0],
    }


def _all_tables(results: Results | None) -> list[Table]:
    if results is None:
        return []
    rows = main_tables(results, results.title or HELD_OUT) if results.rows else []
    return [*rows, *more_tables(results)]


def _table_cells(table: Table) -> JsonObject:
    """Its cells as text: how numbers are shown is the table's own matter."""
    names = [column.name for column in table.columns]
    return {"title": table.title, "columns": names, "rows": table.shown()}


def places(reader: RunReader) -> list[JsonObject]:
    """Every place with self-edits: how many, how many were kept, and what they earned; errors are
    over contexts.
    """
    rewards, shares = defaultdict[int, list[float]](list), defaultdict[int, list[float]](list)
    for number, _, reward, share in reader.index.means():
        if reward is not None:
            rewards[number].append(reward)
        if share is not None:
            shares[number].append(share)
    listed: list[JsonObject] = []
    for number, count, kept, cut in reader.index.counts():
        at = reader.index.places[number]
        # Over passages, as every other error: candidates of one passage are no independent draws.
        one: JsonObject = {
            "id": number,
            "name": place_name(at),
            "phase": at.phase,
            "round": at.round,
        }
        one |= {"count": count, "kept": int(kept), "cut": cut}
        one |= {"expected": _planned_edits(reader.run.settings, at)}
        for name, values in (("reward", rewards[number]), ("right", shares[number])):
            one[name] = mean_se(values).as_dict() if values else None
        listed.append(one)
    return listed


def place_name(at: Place) -> str:
    """A place, for people."""
    if at.phase is Phase.RL:
        return f"round {at.round}"
    return at.method if at.phase is Phase.EVAL else str(at)


def _planned_edits(settings: Mapping[str, Any], at: Place) -> int | None:
    """Self-edits that a round will have; None where the settings do not say."""
    rl = settings.get("rl")
    if at.phase is not Phase.RL or not isinstance(rl, dict):
        return None
    contexts: object = rl.get("contexts")
    candidates: object = rl.get("candidates")
    if not (isinstance(contexts, int) and isinstance(candidates, int)):
        return None
    return contexts * candidates


def _timings(reader: RunReader) -> JsonObject:
    """Seconds of each part, of all places."""
    seconds = defaultdict[str, float](float)
    for row in reader.run.ledger.timings():
        seconds[PARTS.get(row.part, row.part)] += row.seconds
    return seconds


def _documents(reader: RunReader, ids: Mapping[Path, str]) -> list[JsonObject]:
    """The documents of a library, each with the id of the run that learned it."""
    path = reader.viewed.path
    return [_document_line(entry, ids.get(path / entry.adapter)) for entry in read_library(path)]


def _document_line(entry: Entry, run: str | None) -> JsonObject:
    recall = entry.recall
    return {
        "name": entry.name,
        "run": run,
        "passages": entry.passages,
        "accuracy": recall.get("accuracy"),
        "loss": recall["loss"],
        "damage": recall["general_loss"],
    }


def _can_ask(reader: RunReader, documents: list[JsonObject]) -> bool:
    """Whether there is something to ask; whether it is whole is seen when it is loaded."""
    if documents or (reader.viewed.path / "adapter_config.json").exists():
        return True
    return any(isinstance(done.get("policy"), str) for done in reader.run.rounds())


def _dotted(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Settings under their dotted names."""
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        dotted = f"{prefix}{name}"
        rows += _dotted(value, f"{dotted}.") if isinstance(value, dict) else [(dotted, str(value))]
    return rows
