"""What each round of RL did to the policy, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfedit.results.results import Results
from selfedit.results.tabular import Cell, Column, Table

Record = Mapping[str, Any]
Rounds = Sequence[tuple[str, Record]]


def round_tables(results: Results) -> list[Table]:
    """Whether each round moved the policy, and what became of self-edits that were cut off."""
    rounds = _named_rounds(results.more.get("rounds", ()))
    return [_moved(rounds), _expected(rounds), _cut_off_table(rounds)]


def _named_rounds(rounds: Sequence[Record] | Mapping[str, Sequence[Record]]) -> Rounds:
    """The rounds with their names; where there are several formats of self-edits, of each."""
    if isinstance(rounds, Mapping):
        return [
            (f"{format}, {name}", record)
            for format, of_format in rounds.items()
            for name, record in _named_rounds(of_format)
        ]
    return [(f"round {record['round']}", record) for record in rounds]


def _moved(rounds: Rounds) -> Table:
    """A line for the round's prompts and one for held-out ones, and why it did not move."""
    rows: list[list[Cell]] = []
    for round_name, record in rounds:
        movement = record.get("movement")
        if movement is None:
            continue
        verdict = movement["reason"] or "yes"
        for key, name in (("learned", "own prompts"), ("heldout", "held-out prompts")):
            if (apart := movement[key]) is not None:
                rows.append([f"{round_name}, {name}", *_apart(apart), verdict])
        if movement["learned"] is None:
            rows.append([round_name, *[""] * 8, verdict])
    columns = [
        "policy",
        "prompts",
        Column("KL to the one before, nats a self-edit", "number3"),
        Column("entropy a choice before", "number3"),
        Column("after", "number3"),
        Column("likeliest self-edits changed %", "percent"),
        Column("their tokens before", "number1"),
        Column("after", "number1"),
        Column("their facts, before → after"),
        "moved",
    ]
    return Table.make("Did the policy move?", columns, rows)


def _apart(apart: Record) -> list[Cell]:
    facts = (apart["facts_before"], apart["facts"])
    text = "" if None in facts else " → ".join(f"{value:.1f}" for value in facts)
    numbers = ("prompts", "kl", "entropy_before", "entropy", "changed", "tokens_before", "tokens")
    return [*(apart[name] for name in numbers), text]


def _expected(rounds: Rounds) -> Table:
    rows: list[list[Cell]] = []
    for round_name, record in rounds:
        movement: Record = record.get("movement") or {}
        if (expected := movement.get("expected")) is not None:
            kind = "every self-edit" if expected["exact"] else "estimated from those tried"
            cells: list[Cell] = [expected["before"], expected["after"], kind]
            rows.append([round_name, *cells])
    columns = [
        "expected reward on the round's contexts",
        Column("before", "number3"),
        Column("after", "number3"),
        "from",
    ]
    return Table.make("", columns, rows)


def _cut_off_table(rounds: Rounds) -> Table:
    """Only where some were."""
    rows: list[list[Cell]] = []
    for round_name, record in rounds:
        cut = record.get("cut_off")
        if cut and cut["count"]:
            counts = [cut["count"], record["self_edits"], cut["kept"]]
            rows.append([round_name, *counts, cut["accuracy"], cut["others"]])
    columns = [
        "self-edits cut off at the token limit",
        "cut off",
        "of",
        "kept",
        Column("earned", "number3"),
        Column("all others earned", "number3"),
    ]
    return Table.make("", columns, rows)
