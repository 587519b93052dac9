"""The run's ledger: everything a run has done, so that killing it loses at most the step in hand.

Each method that writes is one transaction: all of its rows are stored, or none. The primary keys make doing something
twice impossible. Rows come back in the order of their keys, never in the order they were stored, so that a sum over
them has the same bits in a resumed run as in an uninterrupted one. One process writes: `RunFolder` holds the lock. A
ledger belongs to the thread that opened it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selfedit.errors import RunFolderError
from selfedit.run.rows import (
    ADAPTATIONS,
    ANSWERS,
    BASE,
    KNOWN,
    REWARDS,
    SELF_EDITS,
    STEPS,
    TABLES,
    TIMINGS,
    AdaptationRow,
    AnswerRow,
    GradeRow,
    InnerKey,
    KnownRow,
    RewardRow,
    SelfEditRow,
    StepRow,
    TimingRow,
)
from selfedit.storage.database import Database
from selfedit.storage.tables import R, Table, columns

__all__ = [
    "BASE",
    "AdaptationRow",
    "AnswerRow",
    "GradeRow",
    "InnerKey",
    "KnownRow",
    "Ledger",
    "RewardRow",
    "SelfEditRow",
    "StepRow",
    "TimingRow",
]

_ADD_UP = " ON CONFLICT DO UPDATE SET seconds = seconds + excluded.seconds, count = count + excluded.count"
_IN_ROUND = " WHERE phase = CAST(?1 AS TEXT) AND round = ?2"
_GRADE = {column.name: column for column in columns(GradeRow)}


class Ledger:
    """A run's ledger, opened for one writer or, with ``readonly=True``, for any number of readers.

    Args:
        path: the SQLite file; made if it is not there (not with `readonly`).
        readonly: open for reading; works while another process writes.
        timeout: seconds to wait for another process's transaction.

    Raises:
        RunFolderError: if the file is not a ledger, has another version's form, is damaged, or is locked.
        StorageFull: from here and from every method that writes, if there is no room; nothing of the call is stored.
    """

    def __init__(self, path: Path, *, readonly: bool = False, timeout: float = 5.0) -> None:
        self.path = path
        self._db = Database(path, readonly=readonly, timeout=timeout, tables=TABLES)

    def close(self) -> None:
        """Close the file; everything stored is already on the disk."""
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Make several calls one: ``with ledger.transaction(): ledger.add_rewards(...); ledger.finish_step(...)``.

        If anything raises, Ctrl-C included, none of it is stored. Within another transaction it joins that one.
        """
        return self._db.transaction()

    def add_self_edits(self, rows: Iterable[SelfEditRow], timings: Iterable[TimingRow] = ()) -> None:
        """Store sampled self-edits, and what they took, in one transaction."""
        with self.transaction():
            self._db.insert(SELF_EDITS, rows)
            self.add_timings(timings)

    def add_results(
        self,
        adaptations: Iterable[AdaptationRow],
        answers: Iterable[AnswerRow],
        timings: Iterable[TimingRow] = (),
        known: Iterable[KnownRow] = (),
    ) -> None:
        """Store finished inner loops with all their answers in one transaction.

        The base model's answers (candidate `BASE`, repeat 0) come without an adaptation; give all of a context's at
        once, for `done` then counts the context's base as answered. `known` are those of them that no earlier call
        stored: see `known`.

        Raises:
            ValueError: if an answer belongs to an inner loop that is not among `adaptations`.
            RunFolderError: if one of the rows is stored already.
        """
        adaptations, answers = list(adaptations), list(answers)
        adapted = {(row.phase, row.round, row.key) for row in adaptations}
        for row in answers:
            if row.key[1:] != (BASE, 0) and (row.phase, row.round, row.key) not in adapted:
                raise ValueError(f"an answer without its adaptation: {row.phase!r}, round {row.round}, {row.key}")
        with self.transaction():
            self._db.insert(ADAPTATIONS, adaptations)
            self._db.insert(ANSWERS, answers)
            self._db.insert(KNOWN, known)
            self.add_timings(timings)

    def add_rewards(self, rows: Iterable[RewardRow]) -> None:
        """Store what the candidates earned."""
        self._db.insert(REWARDS, rows)

    def add_timings(self, rows: Iterable[TimingRow]) -> None:
        """Add seconds and counts to what is stored for the same phase, round and part."""
        self._db.insert(TIMINGS, rows, _ADD_UP)

    def finish_step(self, name: str, payload: Mapping[str, Any]) -> None:
        """Store that a named step is finished, with what it made (a path and its hash, say), as JSON.

        Raises:
            RunFolderError: if the step is finished already.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        text = json.dumps(dict(payload), sort_keys=True)
        self._db.insert(STEPS, [StepRow(name=name, payload_json=text, finished_at=now)])

    def replace_grades(self, grades: Iterable[GradeRow]) -> int:
        """Grade stored answers again, all or none; returns how many.

        The rewards stay as they are: they record what the run trained on.

        Raises:
            RunFolderError: if an answer is not in the ledger.
        """
        changed = [name for name in _GRADE if name not in ANSWERS.key]
        statement = f"UPDATE answers SET {_placeholders(changed, ', ')} WHERE {_placeholders(ANSWERS.key, ' AND ')}"
        count = 0
        with self.transaction():
            for grade in grades:
                values = [_GRADE[name].encode(getattr(grade, name)) for name in (*changed, *ANSWERS.key)]
                if self._db.update(statement, values) != 1:
                    raise RunFolderError(f"there is no such answer to grade: {grade}", where=self.path)
                count += 1
        return count

    def self_edits(self, phase: str, round: int) -> list[SelfEditRow]:
        """A round's self-edits, by context and candidate."""
        return self._round(SELF_EDITS, phase, round)

    def adaptations(self, phase: str, round: int) -> list[AdaptationRow]:
        """A round's inner loops, by context, candidate and repeat."""
        return self._round(ADAPTATIONS, phase, round)

    def answers(self, phase: str, round: int) -> list[AnswerRow]:
        """A round's answers, by context, candidate, repeat and question."""
        return self._round(ANSWERS, phase, round)

    def rewards(self, phase: str, round: int) -> list[RewardRow]:
        """A round's rewards, by context and candidate."""
        return self._round(REWARDS, phase, round)

    def done(self, phase: str, round: int) -> set[InnerKey]:
        """The inner loops whose adaptation and answers are stored, and (context, `BASE`, 0) where the base answered."""
        select = "SELECT context_id, candidate, repeat FROM "
        statement = f"{select} adaptations {_IN_ROUND} UNION {select} answers {_IN_ROUND}"
        return {InnerKey(*values) for values in self._db.fetch(statement, (_bytes(phase), round))}

    def rounds(self) -> list[tuple[str, int]]:
        """Every (phase, round) with something in it, sorted."""
        tables = [table for table in TABLES if table not in (STEPS, KNOWN)]
        union = " UNION ".join(f"SELECT phase, round FROM {table.name}" for table in tables)
        return sorted((phase, round) for phase, round in self._db.fetch(union))

    def known(self, weights: str) -> dict[str, KnownRow]:
        """What the model with these weights has answered already, by what it was asked; nothing in an old ledger."""
        if not self._db.fetch("SELECT 1 FROM sqlite_schema WHERE name = 'known_answers'"):
            return {}
        rows = self._db.rows(KNOWN, " WHERE weights = CAST(? AS TEXT)", (_bytes(weights),))
        return {row.asked: row for row in rows}

    def timings(self) -> list[TimingRow]:
        """Where the time of all sessions went. Two runs never agree on it: keep it out of results that must repeat."""
        return self._db.rows(TIMINGS)

    def step(self, name: str) -> dict[str, Any] | None:
        """The payload of a finished step; None if it is not finished."""
        rows = self._db.rows(STEPS, " WHERE name = CAST(? AS TEXT)", (_bytes(name),))
        return json.loads(rows[0].payload_json) if rows else None

    def steps(self) -> list[StepRow]:
        """Every finished step, by name."""
        return self._db.rows(STEPS)

    def _round(self, table: Table[R], phase: str, round: int) -> list[R]:
        return self._db.rows(table, _IN_ROUND, (_bytes(phase), round))


def _placeholders(names: Iterable[str], between: str) -> str:
    return between.join(f"{name} = {_GRADE[name].placeholder}" for name in names)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
