"""Hashes of a database's rows, kept in the database: damage is found when it is opened.

Each table has a running hash over its rows in the order they were stored. A transaction carries on
the hashes of the tables it wrote to and stores them with its rows, so that whatever is changed,
lost or added outside of a transaction gives another hash than the stored one. A table whose rows
are changed in place is hashed as a whole each time, and so is SQLite's list of tables.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from selfedit.storage.tables import RecordTable

_AT_ONCE = 64
_SCHEMA = "sqlite_schema"
CREATE_SEALS = (
    "CREATE TABLE IF NOT EXISTS seals (name TEXT PRIMARY KEY, rows INTEGER NOT NULL, digest TEXT"
    " NOT NULL)"
)
_STORE = "INSERT OR REPLACE INTO seals (name, rows, digest) VALUES (?, ?, ?)"


class SealBroken(Exception):
    """The rows are not those that were stored; its text says which."""


@dataclass
class _Seal:
    """A running hash: over how many rows, up to which one."""

    rows: int = 0
    last: int = 0
    hash: Any = field(default_factory=hashlib.sha256)

    def copy(self) -> _Seal:
        return _Seal(self.rows, self.last, self.hash.copy())

    @property
    def stored(self) -> tuple[int, str]:
        """What the database keeps of it."""
        return self.rows, self.hash.hexdigest()


class Seals:
    """The hashes of a database's tables.

    Args:
        connection: in whose transactions everything here happens.
        tables: what is hashed, with SQLite's own list of tables.
    """

    def __init__(self, connection: sqlite3.Connection, tables: Sequence[RecordTable[Any]]) -> None:
        self._db = connection
        self._whole = {table.name for table in tables if table.rewritten} | {_SCHEMA}
        self._selects = {table.name: _select(table) for table in tables}
        self._selects[_SCHEMA] = (
            "SELECT rowid, type, name, tbl_name, sql FROM sqlite_schema WHERE rowid > ? ORDER BY"
            " rowid"
        )
        self._current: dict[str, _Seal] = {}

    def check(self) -> None:
        """Hash every row and compare; within a transaction.

        Raises:
            SealBroken: rows are not what was stored.
        """
        stored = self._stored()
        current = {name: self._carried_on(name, _Seal()) for name in self._selects}
        for name, seal in current.items():
            if stored.get(name) != seal.stored:
                raise SealBroken(f"the rows of {name} are not those that were stored")
        self._current = current

    def follow(self) -> None:
        """Check again if another process has stored something since the last check."""
        if self._stored() != {name: seal.stored for name, seal in self._current.items()}:
            self.check()

    def renewed(self, names: Iterable[str]) -> dict[str, _Seal]:
        """Store the hashes of the tables that this transaction wrote to; give what is returned to
        `keep` once it is committed.
        """
        seals = {
            name: self._carried_on(name, self._begun(name))
            for name in self._selects
            if name in names or name not in self._current
        }
        self._db.executemany(_STORE, [(name, *seal.stored) for name, seal in seals.items()])
        return seals

    def keep(self, seals: dict[str, _Seal]) -> None:
        """The transaction that stored these is committed."""
        self._current |= seals

    def _begun(self, name: str) -> _Seal:
        fresh = name in self._whole or name not in self._current
        return _Seal() if fresh else self._current[name].copy()

    def _carried_on(self, name: str, seal: _Seal) -> _Seal:
        """A hash with the rows that came after its last one."""
        text_factory = self._db.text_factory
        self._db.text_factory = bytes  # damaged text need not be text
        try:
            cursor = self._db.execute(self._selects[name], (seal.last,))
            while rows := cursor.fetchmany(_AT_ONCE):
                seal.hash.update(b"".join(map(_packed, rows)))
                seal.rows, seal.last = seal.rows + len(rows), rows[-1][0]
        finally:
            self._db.text_factory = text_factory
        return seal

    def _stored(self) -> dict[str, tuple[int, str]]:
        rows = self._db.execute("SELECT name, rows, digest FROM seals").fetchall()
        return {name: (count, digest) for name, count, digest in rows}


def _packed(row: tuple[Any, ...]) -> bytes:
    """A row as bytes, other rows as others: its numbers, the lengths of its texts, its texts.

    ``repr`` gives whole numbers, floats and None the same text in every version of Python.
    """
    texts = [value for value in row if type(value) is bytes]
    plain = [(len(value),) if type(value) is bytes else value for value in row]
    return b"".join([repr(plain).encode("ascii"), *texts])


def _select(table: RecordTable[Any]) -> str:
    names = ", ".join(column.name for column in table.columns)
    return f"SELECT rowid, {names} FROM {table.name} WHERE rowid > ? ORDER BY rowid"
