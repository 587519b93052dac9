"""An index of a run's self-edits in tables of this process, filled from the ledger a batch at a
time, so that a filter over 10^5 of them answers at once, also while the run goes on.

A ledger's rows are only ever added, so what is new stands behind the last row that was read. The
tables are SQLite's TEMP ones on the connection that reads the ledger: they go with it, and nothing
is written to the run.
"""

from __future__ import annotations

import time
from typing import Any

from selfedit.run.ledger import Ledger
from selfedit.run.records import Phase, Place
from selfedit.view.index_tables import COLUMNS, FILL, NEW_NAMES, ORDERS, SHARE, TABLES
from selfedit.view.query import Filters

_BATCH = 2000
_KEPT_QUERIES = 8
_POINTS = 3000
_CACHE_KIB = 2**17
Row = dict[str, object]


class EditIndex:
    """The index of one ledger, for the thread that opened it.

    Attributes:
        places: by their numbers here.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._last = dict.fromkeys(FILL, 0)
        self._queries: dict[Filters, list[int]] = {}
        self._sums: dict[str, list[tuple[Any, ...]]] = {}
        self.places: dict[int, Place] = {}
        for statement in TABLES.split(";"):
            ledger.fetch(statement)
        # Else a search through 10^5 texts would read most of them from a file again.
        ledger.fetch(f"PRAGMA temp.cache_size = -{_CACHE_KIB}")

    @property
    def done(self) -> tuple[int, int]:
        """Rows of the ledger that were read, and how many there are."""
        return sum(self._last.values()), sum(map(self._end, FILL))

    def follow(self, seconds: float) -> bool:
        """Read on for about so long; whether that was all there is."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not any(map(self._batch, FILL)):
                return True
        return False

    def _end(self, table: str) -> int:
        ((last,),) = self._ledger.fetch(f"SELECT ifnull(max(rowid), 0) FROM main.{table}")
        return last

    def _batch(self, table: str) -> bool:
        """Read some rows of one table; whether there were any."""
        start, end = self._last[table], self._end(table)
        # A trial or a reward was stored after its self-edit, and needs its row here.
        if table != "self_edits" and self._last["self_edits"] < self._end("self_edits"):
            return False
        if start >= end:
            return False
        values = (start, min(end, start + _BATCH))
        self._ledger.fetch("BEGIN")
        try:
            for statement in (*NEW_NAMES, *FILL[table]):
                self._ledger.fetch(statement.format(table), values)
        except BaseException:  # else the half of it would be there twice when it is tried again
            self._ledger.fetch("ROLLBACK")
            raise
        self._ledger.fetch("COMMIT")
        self._last[table] = values[1]
        self._queries.clear()
        self._sums.clear()
        self._read_places()
        return True

    def _read_places(self) -> None:
        rows = self._ledger.fetch("SELECT id, phase, method, round FROM view_places")
        for number, phase, method, round in rows:
            if number not in self.places:
                at = Place(Phase(phase), method, None if round < 0 else round)
                self.places[number] = at

    def matching(self, filters: Filters) -> list[int]:
        """The ids of the self-edits that a filter lets through, in its order."""
        if filters not in self._queries:
            condition, values = filters.sql()
            texts = " JOIN view_texts AS t ON t.id = e.id" if filters.q else ""
            rows = self._ledger.fetch(
                f"SELECT e.id FROM view_edits AS e{texts} WHERE {condition} ORDER BY"
                f" {ORDERS[filters.sort]}",
                values,
            )
            # A list is scrolled: the same question comes again and again, with another offset.
            while len(self._queries) >= _KEPT_QUERIES:
                self._queries.pop(next(iter(self._queries)))
            self._queries[filters] = [number for (number,) in rows]
        return self._queries[filters]

    def rows(self, numbers: list[int], letters: int) -> list[Row]:
        """Self-edits by their ids, in that order, each with so many first letters of its text."""
        # Whole numbers of ours: nothing that a client sent is made part of a statement.
        listed = ", ".join(map(str, map(int, numbers)))
        columns = ", ".join(COLUMNS.values())
        rows = self._ledger.fetch(
            f"SELECT {columns}, c.name, substr(s.text, 1, {int(letters)}) FROM view_edits AS e JOIN"
            " view_contexts AS c ON c.id = e.context JOIN main.self_edits AS s ON s.rowid = e.id"
            f" WHERE e.id IN ({listed})"
        )
        names = (*COLUMNS, "name", "text")
        by_id = {values[0]: dict(zip(names, values, strict=True)) for values in rows}
        return [by_id[number] for number in numbers if number in by_id]

    def points(self) -> tuple[int, list[tuple[object, ...]]]:
        """How many self-edits have a reward or graded answers, and at most 3,000 of them for
        pictures, evenly from first to last: id, place, tokens, reward, share right, kept.
        """
        measured = "(e.reward IS NOT NULL OR e.judged)"
        ((count,),) = self._summed(f"SELECT count(*) FROM view_edits AS e WHERE {measured}")
        # By number and not by chance: the same points every time the page asks.
        every = max(1, -(-count // _POINTS))
        rows = self._summed(
            f"SELECT e.id, e.place, e.tokens, e.reward, {SHARE}, e.kept FROM view_edits AS e WHERE"
            f" {measured} AND e.id % {every} = 0 LIMIT {2 * _POINTS}"
        )
        return count, rows

    def means(self) -> list[tuple[int, str, float | None, float | None]]:
        """For each place and context the mean reward of its self-edits and the share of their
        answers that are right.
        """
        return self._summed(
            "SELECT e.place, c.name, avg(e.reward), sum(e.correct) * 1.0 / nullif(sum(e.judged), 0)"
            " FROM view_edits AS e JOIN view_contexts AS c ON c.id = e.context GROUP BY e.place,"
            " e.context ORDER BY e.place, e.context"
        )

    def counts(self) -> list[tuple[int, int, int, int]]:
        """For each place how many self-edits there are, were kept, and were cut off."""
        return self._summed(
            "SELECT place, count(*), total(kept), sum(cut) FROM view_edits GROUP BY place"
        )

    def _summed(self, statement: str) -> list[tuple[Any, ...]]:
        """What a statement gives over the whole index, asked once until there is more in it."""
        if statement not in self._sums:
            self._sums[statement] = self._ledger.fetch(statement)
        return self._sums[statement]

    def contexts(self, text: str, most: int) -> list[tuple[int, str]]:
        """The first contexts whose ids hold a text."""
        word = text.encode("utf-8", "surrogatepass")
        return self._ledger.fetch(
            "SELECT id, name FROM view_contexts WHERE instr(lower(name), lower(CAST(? AS TEXT)))"
            f" ORDER BY name LIMIT {int(most)}",
            (word,),
        )

    def of_context(self, context: int, most: int) -> tuple[str | None, list[Row]]:
        """A context's id in the data, and its first self-edits, without their texts."""
        names = self._ledger.fetch("SELECT name FROM view_contexts WHERE id = ?", (context,))
        columns = ", ".join(COLUMNS.values())
        rows = self._ledger.fetch(
            f"SELECT {columns} FROM view_edits AS e WHERE e.context = ? ORDER BY e.place,"
            f" e.candidate LIMIT {int(most)}",
            (context,),
        )
        edits = [dict(zip(COLUMNS, values, strict=True)) for values in rows]
        return (names[0][0] if names else None), edits
