"""An index of a run's self-edits in tables of this process, filled from the ledger a batch at a time,
so that a filter over 10^5 of them answers at once, also while the run goes on.

A ledger's rows are only ever added, so what is new stands behind the last row that was read. The
tables are SQLite's TEMP ones on the connection that reads the ledger: they go with it, and nothing
is written to the run.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from selfedit.run.ledger import Ledger
from selfedit.run.records import Phase, Place

Sort = Literal["ledger", "best", "worst", "longest", "loss"]
_BATCH = 2000
_KEPT_QUERIES = 8
_POINTS = 3000
_CACHE_KIB = 2**17
_TABLES = """
CREATE TEMP TABLE view_places (
    id INTEGER PRIMARY KEY, phase TEXT, method TEXT, round INTEGER, UNIQUE (phase, method, round));
CREATE TEMP TABLE view_contexts (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TEMP TABLE view_edits (
    id INTEGER PRIMARY KEY, place INTEGER, context INTEGER, candidate INTEGER, tokens INTEGER,
    cut INTEGER, rejected INTEGER, reward REAL, accuracy REAL, baseline REAL, kept INTEGER,
    trials INTEGER DEFAULT 0, loss REAL DEFAULT 0, correct INTEGER DEFAULT 0,
    judged INTEGER DEFAULT 0);
CREATE UNIQUE INDEX view_edits_key ON view_edits (context, place, candidate);
CREATE TEMP TABLE view_texts (id INTEGER PRIMARY KEY, lowered TEXT)
"""
# A place without a round is -1 here: to SQL, NULL is equal to nothing.
_NAMES = (
    "INSERT OR IGNORE INTO view_places (phase, method, round) SELECT DISTINCT phase, method,"
    " ifnull(round, -1) FROM main.{0} WHERE rowid > ?1 AND rowid <= ?2",
    "INSERT OR IGNORE INTO view_contexts (name) SELECT DISTINCT context_id FROM main.{0} WHERE"
    " rowid > ?1 AND rowid <= ?2",
)
_JOINED = (
    " FROM main.{0} AS r JOIN view_places AS p ON p.phase = r.phase AND p.method = r.method"
    " AND p.round = ifnull(r.round, -1) JOIN view_contexts AS c ON c.name = r.context_id WHERE"
    " r.rowid > ?1 AND r.rowid <= ?2"
)
_SAME = (
    " WHERE view_edits.context = new.context AND view_edits.place = new.place AND"
    " view_edits.candidate = new.candidate"
)
_FILL: dict[str, tuple[str, ...]] = {
    "self_edits": (
        "INSERT INTO view_edits (id, place, context, candidate, tokens, cut, rejected) SELECT"
        " r.rowid, p.id, c.id, candidate, tokens, finish = 'length', rejected IS NOT NULL"
        f"{_JOINED}",
        "INSERT INTO view_texts SELECT rowid, lower(text) FROM main.self_edits WHERE rowid > ?1 AND"
        " rowid <= ?2",
    ),
    "rewards": (
        "UPDATE view_edits SET reward = new.reward, accuracy = new.accuracy, baseline ="
        " new.baseline, kept = new.kept FROM (SELECT p.id AS place, c.id AS context, candidate,"
        f" reward, accuracy, baseline, kept{_JOINED}) AS new{_SAME}",
    ),
    # A loss of NaN is no JSON to every SQLite.
    "trials": (
        "UPDATE view_edits SET trials = trials + new.n, loss = view_edits.loss + new.loss, correct ="
        " view_edits.correct + new.correct, judged = view_edits.judged + new.judged FROM (SELECT"
        " p.id AS place, c.id AS context, candidate, count(*) AS n, total(CASE WHEN"
        " json_valid(training) THEN training ->> 'final_loss' END) AS loss, sum((SELECT"
        " total(value ->> 'correct') FROM json_each(answers))) AS correct, sum((SELECT count(value"
        f" ->> 'correct') FROM json_each(answers))) AS judged{_JOINED} AND candidate IS NOT NULL"
        f" GROUP BY 1, 2, 3) AS new{_SAME}",
    ),
}
_SHARE = "CASE WHEN e.judged THEN e.correct * 1.0 / e.judged END"
_COLUMNS = {
    "id": "e.id", "place": "e.place", "context": "e.context", "candidate": "e.candidate",
    "tokens": "e.tokens", "cut": "e.cut", "rejected": "e.rejected", "reward": "e.reward",
    "accuracy": "e.accuracy", "baseline": "e.baseline", "kept": "e.kept", "trials": "e.trials",
    "loss": "CASE WHEN e.trials THEN e.loss / e.trials END", "right": _SHARE,
}  # fmt: skip
_ORDERS: dict[Sort, str] = {
    "ledger": "e.id",
    "best": f"ifnull(e.reward, {_SHARE}) DESC NULLS LAST, e.id",
    "worst": f"ifnull(e.reward, {_SHARE}) NULLS LAST, e.id",
    "longest": "e.tokens DESC, e.id",
    "loss": "e.loss / e.trials DESC NULLS LAST, e.id",
}
Row = dict[str, object]


@dataclass(frozen=True)
class Filters:
    """Which self-edits: those for which all that is not None holds.

    Attributes:
        place, context: by their numbers here.
        kept, cut: whether it was kept; whether the token limit cut it off.
        least, most: of its reward, or of the share of answers right where there is none.
        text: what its text or its context's id holds; ASCII letters large or small.
        sort: their order.
    """

    place: int | None = None
    context: int | None = None
    kept: bool | None = None
    cut: bool | None = None
    least: float | None = None
    most: float | None = None
    text: str = ""
    sort: Sort = "ledger"

    def sql(self) -> tuple[str, tuple[object, ...]]:
        """The condition and its values."""
        worth = f"ifnull(e.reward, {_SHARE})"
        parts: list[tuple[str, object]] = [
            ("e.place = ?", self.place),
            ("e.context = ?", self.context),
            ("ifnull(e.kept, 0) = ?", None if self.kept is None else int(self.kept)),
            ("e.cut = ?", None if self.cut is None else int(self.cut)),
            (f"{worth} >= ?", self.least),
            (f"{worth} <= ?", self.most),
        ]
        used = [(part, value) for part, value in parts if value is not None]
        values = tuple(value for _, value in used)
        conditions = [part for part, _ in used]
        if self.text:
            # Bytes: Python's sqlite3 refuses half characters in text.
            word = self.text.encode("utf-8", "surrogatepass")
            conditions.append(
                "(instr(t.lowered, lower(CAST(? AS TEXT))) OR e.context IN (SELECT id FROM"
                " view_contexts WHERE instr(lower(name), lower(CAST(? AS TEXT)))))"
            )
            values += (word, word)
        return " AND ".join(conditions) or "1", values


class EditIndex:
    """The index of one ledger, for the thread that opened it.

    Attributes:
        places: by their numbers here.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._last = dict.fromkeys(_FILL, 0)
        self._queries: dict[Filters, list[int]] = {}
        self.places: dict[int, Place] = {}
        for statement in _TABLES.split(";"):
            ledger.fetch(statement)
        # Else a search through 10^5 texts would read most of them from a file again.
        ledger.fetch(f"PRAGMA temp.cache_size = -{_CACHE_KIB}")

    @property
    def done(self) -> tuple[int, int]:
        """Rows of the ledger that were read, and how many there are."""
        return sum(self._last.values()), sum(map(self._end, _FILL))

    def follow(self, seconds: float) -> bool:
        """Read on for about so long; whether that was all there is."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not any(map(self._batch, _FILL)):
                return True
        return False

    def _end(self, table: str) -> int:
        ((last,),) = self._ledger.fetch(f"SELECT ifnull(max(rowid), 0) FROM main.{table}")
        return last

    def _batch(self, table: str) -> bool:
        """Read some rows of one table; whether there were any. Those of a trial or a reward were
        stored after their self-edit, so all self-edits come first.
        """
        start, end = self._last[table], self._end(table)
        if table != "self_edits" and self._last["self_edits"] < self._end("self_edits"):
            return False
        if start >= end:
            return False
        values = (start, min(end, start + _BATCH))
        self._ledger.fetch("BEGIN")
        try:
            for statement in (*_NAMES, *_FILL[table]):
                self._ledger.fetch(statement.format(table), values)
        except BaseException:  # else the half of it would be there twice when it is tried again
            self._ledger.fetch("ROLLBACK")
            raise
        self._ledger.fetch("COMMIT")
        self._last[table] = values[1]
        self._queries.clear()
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
            texts = " JOIN view_texts AS t ON t.id = e.id" if filters.text else ""
            rows = self._ledger.fetch(
                f"SELECT e.id FROM view_edits AS e{texts} WHERE {condition} ORDER BY"
                f" {_ORDERS[filters.sort]}",
                values,
            )
            while len(self._queries) >= _KEPT_QUERIES:
                self._queries.pop(next(iter(self._queries)))
            self._queries[filters] = [number for (number,) in rows]
        return self._queries[filters]

    def rows(self, numbers: list[int], letters: int) -> list[Row]:
        """Self-edits by their ids, in that order, each with so many first letters of its text."""
        listed = ", ".join(map(str, map(int, numbers)))
        columns = ", ".join(_COLUMNS.values())
        found = self._ledger.fetch(
            f"SELECT {columns}, c.name, substr(s.text, 1, {int(letters)}) FROM view_edits AS e JOIN"
            " view_contexts AS c ON c.id = e.context JOIN main.self_edits AS s ON s.rowid = e.id"
            f" WHERE e.id IN ({listed})"
        )
        names = (*_COLUMNS, "name", "text")
        by_id = {values[0]: dict(zip(names, values, strict=True)) for values in found}
        return [by_id[number] for number in numbers if number in by_id]

    def points(self) -> tuple[int, list[tuple[object, ...]]]:
        """How many self-edits have a reward or graded answers, and at most 3,000 of them for
        pictures, evenly from first to last: id, place, tokens, reward, share right, kept.
        """
        measured = "(e.reward IS NOT NULL OR e.judged)"
        ((count,),) = self._ledger.fetch(f"SELECT count(*) FROM view_edits AS e WHERE {measured}")
        every = max(1, -(-count // _POINTS))
        rows = self._ledger.fetch(
            f"SELECT e.id, e.place, e.tokens, e.reward, {_SHARE}, e.kept FROM view_edits AS e WHERE"
            f" {measured} AND e.id % {every} = 0 LIMIT {2 * _POINTS}"
        )
        return count, rows

    def means(self) -> list[tuple[int, str, float | None, float | None]]:
        """For each place and context the mean reward of its self-edits and the share of their
        answers that are right.
        """
        return self._ledger.fetch(
            "SELECT e.place, c.name, avg(e.reward), sum(e.correct) * 1.0 / nullif(sum(e.judged), 0)"
            " FROM view_edits AS e JOIN view_contexts AS c ON c.id = e.context GROUP BY e.place,"
            " e.context ORDER BY e.place, e.context"
        )

    def counts(self) -> list[tuple[int, int, int, int]]:
        """For each place how many self-edits there are, were kept, and were cut off."""
        return self._ledger.fetch(
            "SELECT place, count(*), total(kept), sum(cut) FROM view_edits GROUP BY place"
        )

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
        columns = ", ".join(_COLUMNS.values())
        found = self._ledger.fetch(
            f"SELECT {columns} FROM view_edits AS e WHERE e.context = ? ORDER BY e.place,"
            f" e.candidate LIMIT {int(most)}",
            (context,),
        )
        rows = [dict(zip(_COLUMNS, values, strict=True)) for values in found]
        return (names[0][0] if names else None), rows
