"""The run's ledger: everything a run has done, so that killing it loses at most the step in hand.

Each method that writes is one transaction: all of its rows are stored, or none. The tables' keys
make doing something twice impossible. Rows come back in the order of their keys, never in the order
they were stored, so that a sum over them has the same bits in a resumed run as in an uninterrupted
one. One process writes: `RunFolder` holds the lock. A ledger belongs to the thread that opened it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selfedit.run.records import (
    KNOWN,
    REWARDS,
    SELF_EDITS,
    STEPS,
    TABLES,
    TIMINGS,
    TRIALS,
    KnownAnswer,
    Phase,
    Place,
    RewardRow,
    SelfEditRow,
    StepRow,
    TimingRow,
    Trial,
    TrialKey,
    Verdicts,
)
from selfedit.storage.database import Database
from selfedit.storage.tables import R, RecordTable

__all__ = ["FORM", "Ledger"]

FORM = 4
"""The form of the tables. Form 1 kept answers and trainings apart, 2 had no sampled tokens, 3 no
hashes."""
_ADD_UP = (
    " ON CONFLICT DO UPDATE SET seconds = seconds + excluded.seconds, count = count +"
    " excluded.count"
)
_KEYS_AT_ONCE = 500
_IN_PLACE = " WHERE phase = CAST(?1 AS TEXT) AND method = CAST(?2 AS TEXT) AND round IS ?3"
# The index of each table's key holds rounds in this form.
_OF_CONTEXT = (
    " WHERE phase = CAST(?1 AS TEXT) AND method = CAST(?2 AS TEXT) AND ifnull(round, '') ="
    " ifnull(?3, '') AND context_id = CAST(?4 AS TEXT)"
)
_VERDICTS = (
    "SELECT context_id, repeat, total(correct = 1), count(correct), total(correct IS NULL AND"
    " grader IS NOT NULL) FROM (SELECT context_id, repeat, answer.value ->> 'correct' AS correct,"
    f" answer.value ->> 'grader' AS grader FROM trials, json_each(answers) AS answer{_IN_PLACE})"
    " GROUP BY context_id, repeat ORDER BY context_id, repeat"
)


class Ledger:
    """A run's ledger, opened for one writer or, with ``readonly=True``, for any number of readers.

    Args:
        path: the SQLite file; made if it is not there (not with `readonly`).
        readonly: open for reading; works while another process writes.
        timeout: seconds to wait for another process's transaction.
        begun: the ledger was made before: missing or empty it is an error, and not made anew.
        check: see at once that it holds what was stored; who only looks may do so later.

    Raises:
        RunFolderError: if the file is not a ledger, has another version's form, is damaged, lost,
            or is locked; from the methods that write, if it was moved, removed or emptied
            meanwhile.
        StorageFull: from here and from every method that writes, if there is no room; nothing of
            the call is stored.
    """

    def __init__(
        self,
        path: Path,
        *,
        readonly: bool = False,
        timeout: float = 5.0,
        begun: bool = False,
        check: bool = True,
    ) -> None:
        self.path = path
        self._db = Database(
            path,
            readonly=readonly,
            timeout=timeout,
            tables=TABLES,
            version=FORM,
            sealed=True,
            begun=begun,
            check=check,
        )

    def close(self) -> None:
        """Close the file; everything stored is already on the disk."""
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Make several calls one: ``with ledger.transaction(): ledger.add_rewards(...);
            ledger.finish_step(...)``.

        If anything raises, Ctrl-C included, none of it is stored. Within another transaction it
        joins that one.
        """
        return self._db.transaction()

    def check_there(self) -> None:
        """See that the file is still the one that was opened.

        Raises:
            RunFolderError: it was moved, removed, replaced or emptied meanwhile.
        """
        self._db.check_there()

    def add_self_edits(
        self, rows: Iterable[SelfEditRow], timings: Iterable[TimingRow] = ()
    ) -> None:
        """Store sampled self-edits, and what they took, in one transaction."""
        with self.transaction():
            self._db.insert(SELF_EDITS, rows)
            self.add_timings(timings)

    def add_trials(
        self,
        trials: Iterable[Trial],
        timings: Iterable[TimingRow] = (),
        known: Iterable[KnownAnswer] = (),
    ) -> None:
        """Store finished trials, and what they took, in one transaction.

        `known` are those of the unadapted model's answers that no earlier call stored: see `known`.

        Raises:
            RunFolderError: if one of the trials is stored already.
        """
        with self.transaction():
            self._db.insert(TRIALS, trials)
            self._db.insert(KNOWN, known)
            self.add_timings(timings)

    def add_rewards(self, rows: Iterable[RewardRow]) -> None:
        """Store what the candidates earned."""
        self._db.insert(REWARDS, rows)

    def add_timings(self, rows: Iterable[TimingRow]) -> None:
        """Add seconds and counts to what is stored for the same phase, round and part."""
        self._db.insert(TIMINGS, rows, _ADD_UP)

    def finish_step(self, name: str, payload: Mapping[str, Any]) -> None:
        """Store that a named step is finished, with what it made (a path and its hash, say), as
        JSON. From here on a copy of the ledger's file alone holds all that is stored.

        Raises:
            RunFolderError: if the step is finished already.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        text = json.dumps(dict(payload), sort_keys=True)
        with self.transaction():
            self._db.insert(STEPS, [StepRow(name=name, payload_json=text, finished_at=now)])
            self._db.checkpoint()

    def self_edits(self, place: Place) -> list[SelfEditRow]:
        """A place's self-edits, by context and candidate."""
        return self._placed(SELF_EDITS, place)

    def trials(self, place: Place) -> list[Trial]:
        """A place's trials, by context, candidate (the unadapted model's first) and repeat."""
        return self._placed(TRIALS, place)

    def each_trial(self, place: Place) -> Iterator[Trial]:
        """The same, one after the other: of a million answers only some are in memory at a time."""
        return self._db.each(TRIALS, _IN_PLACE, _values(place))

    def trial_count(self, place: Place) -> int:
        """How many trials a place has."""
        return self._count(place, "*")

    def context_count(self, place: Place) -> int:
        """How many contexts a place's trials are of."""
        return self._count(place, "DISTINCT context_id")

    def _count(self, place: Place, what: str) -> int:
        statement = f"SELECT count({what}) FROM {TRIALS.name}{_IN_PLACE}"
        ((count,),) = self._db.fetch(statement, _values(place))
        return count

    def verdicts(self, place: Place) -> list[Verdicts]:
        """How a place's answers were graded, by context and repeat; contexts without answers are
        left out. Counted within the database: no answer is read into memory.
        """
        return [
            Verdicts(context_id, repeat, int(right), judged, int(undecided))
            for context_id, repeat, right, judged, undecided in self._db.fetch(
                _VERDICTS, _values(place)
            )
        ]

    def each_self_edit(self, place: Place) -> Iterator[SelfEditRow]:
        """As `self_edits`, one after the other."""
        return self._db.each(SELF_EDITS, _IN_PLACE, _values(place))

    def of_context(
        self, place: Place, context_id: str, candidates: Sequence[int]
    ) -> tuple[list[SelfEditRow], list[Trial]]:
        """Some of a context's self-edits at a place, their trials and the unadapted model's; the
        other rows of the place are not read.
        """
        listed = ", ".join(map(str, map(int, candidates)))
        values = (*_values(place), _bytes(context_id))
        where = f"{_OF_CONTEXT} AND (candidate IN ({listed}) OR candidate IS NULL)"
        return self._db.rows(SELF_EDITS, where, values), self._db.rows(TRIALS, where, values)

    def fetch(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """What SQL gives, for readers with questions of their own; only tables of theirs (TEMP) can
        be written by it where the ledger is read.
        """
        return self._db.fetch(statement, values)

    def rewards(self, place: Place) -> list[RewardRow]:
        """A place's rewards, by context and candidate."""
        return self._placed(REWARDS, place)

    def done(self, place: Place) -> set[TrialKey]:
        """The trials that are stored."""
        statement = f"SELECT context_id, candidate, repeat FROM {TRIALS.name}{_IN_PLACE}"
        return {TrialKey(*values) for values in self._db.fetch(statement, _values(place))}

    def places(self) -> list[Place]:
        """Every place with something in it: by phase, method and round, places without a round
        first.
        """
        tables = (SELF_EDITS, TRIALS, REWARDS, TIMINGS)
        union = " UNION ".join(f"SELECT phase, method, round FROM {table.name}" for table in tables)
        rows = self._db.fetch(f"{union} ORDER BY phase, method, round")
        return [Place(Phase(phase), method, round) for phase, method, round in rows]

    def known(self, weights: str, questions: Sequence[str]) -> dict[str, KnownAnswer]:
        """What the model with these weights has answered already of these hashes of questions, by
        hash.
        """
        rows: list[KnownAnswer] = []
        for start in range(0, len(questions), _KEYS_AT_ONCE):
            keys = [_bytes(key) for key in questions[start : start + _KEYS_AT_ONCE]]
            listed = ", ".join(["CAST(? AS TEXT)"] * len(keys))
            where = f" WHERE weights = CAST(? AS TEXT) AND asked IN ({listed})"
            rows += self._db.rows(KNOWN, where, (_bytes(weights), *keys))
        return {row.asked: row for row in rows}

    def timings(self) -> list[TimingRow]:
        """Where the time of all sessions went. Two runs never agree on it: keep it out of results
        that must repeat.
        """
        return self._db.rows(TIMINGS)

    def step(self, name: str) -> dict[str, Any] | None:
        """The payload of a finished step; None if it is not finished."""
        rows = self._db.rows(STEPS, " WHERE name = CAST(? AS TEXT)", (_bytes(name),))
        return json.loads(rows[0].payload_json) if rows else None

    def steps(self) -> list[StepRow]:
        """Every finished step, by name."""
        return self._db.rows(STEPS)

    def _placed(self, table: RecordTable[R], place: Place) -> list[R]:
        return self._db.rows(table, _IN_PLACE, _values(place))


def _values(place: Place) -> tuple[bytes, bytes, int | None]:
    return _bytes(place.phase), _bytes(place.method), place.round


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
