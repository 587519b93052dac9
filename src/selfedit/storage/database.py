"""An SQLite file with tables made from dataclasses: whole transactions only, and errors in this
project's words.

A run's ledger is one; the kept replies of chat endpoints are another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfedit.errors import RunFolderError, SelfEditError
from selfedit.storage.files import storage_full
from selfedit.storage.tables import R, Table

# What SQLite says when a write found no room: FULL for ENOSPC, an I/O error for EFBIG and EDQUOT.
_FULL = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}


class Database:
    """The file beneath a ledger.

    The write-ahead log lets a report read while the run writes. ``synchronous=FULL`` waits for the
    disk at every
    commit: a few milliseconds against the seconds an inner loop takes, and for them a power cut
    loses no more than a kill does.

    Args:
        path: the SQLite file; made if it is not there (not with `readonly`).
        readonly: open for reading; works while another process writes.
        timeout: seconds to wait for another process's transaction.
        tables: what it holds.
        version: the form of the tables; kept in ``PRAGMA user_version``.
        noun: what to call it in messages.

    Raises:
        RunFolderError: if the file is not a ledger, has another version's form, is damaged, or is
            locked.
        StorageFull: from here and from every write, if there is no room; nothing of the transaction
            is stored.
    """

    def __init__(
        self,
        path: Path,
        *,
        readonly: bool,
        timeout: float,
        tables: Sequence[Table[Any]],
        version: int = 1,
        noun: str = "ledger",
    ) -> None:
        self.path = path
        self._tables = tables
        self._version = version
        self._noun = noun
        self._inside = False
        self._failed = False
        with self.errors():
            uri = f"{path.resolve().as_uri()}?mode={'ro' if readonly else 'rwc'}"
            self._db = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)
        self._db.text_factory = lambda data: data.decode("utf-8", "surrogatepass")
        try:
            with self.errors():
                self._prepare(readonly)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file; everything stored is already on the disk."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Store all that the block writes, or none of it if anything raises, Ctrl-C included.

        Within another transaction it joins that one, and its failure fails the whole, even if the
        exception is caught in between.
        """
        if self._inside:
            try:
                with self.errors():
                    yield
            except BaseException:
                self._failed = True
                raise
            return
        try:
            self._inside, self._failed = True, False
            with self.errors():
                self._begin()
                yield
                if self._failed:
                    raise SelfEditError(
                        "a part of this transaction failed, so none of it is stored",
                        where=self.path,
                    )
                self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # some failed transactions SQLite ends itself
                self._db.execute("ROLLBACK")
            raise
        finally:
            self._inside = False

    def insert(self, table: Table[R], rows: Iterable[R], conflict: str = "") -> None:
        """Store rows of one table, all or none."""
        with self.transaction():
            self._db.executemany(table.insert + conflict, map(table.encode, rows))

    def update(self, statement: str, values: list[Any]) -> int:
        """Run an UPDATE within a transaction; returns how many rows it changed."""
        with self.errors():
            return self._db.execute(statement, values).rowcount

    def rows(self, table: Table[R], where: str = "", values: tuple[Any, ...] = ()) -> list[R]:
        """A table's rows, in the order of its key."""
        return [table.decode(row) for row in self.fetch(table.select + where + table.order, values)]

    def fetch(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """What a SELECT gives."""
        with self.errors():
            return self._db.execute(statement, values).fetchall()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's errors into this project's."""
        try:
            yield
        except sqlite3.Error as error:
            # No code: a mistake in this code (a closed ledger, another thread), not something
            # SQLite met.
            if getattr(error, "sqlite_errorcode", None) is None:
                raise
            raise _explained(error, self.path, self._noun) from error

    def _begin(self) -> None:
        if self._db.in_transaction:  # left by a Ctrl-C that fell between two lines of `transaction`
            self._db.execute("ROLLBACK")
        self._db.execute("BEGIN IMMEDIATE")

    def _prepare(self, readonly: bool) -> None:
        """Check that the file is a ledger of this version; make the tables in an empty one."""
        ((version,),) = self.fetch("PRAGMA user_version")
        ((tables,),) = self.fetch("SELECT count(*) FROM sqlite_schema")
        if version == 0 and tables == 0 and not readonly:
            self._db.execute("PRAGMA journal_mode = WAL")
            with self.transaction():
                self._make_tables()
                self._db.execute(f"PRAGMA user_version = {self._version}")
        elif version != self._version:
            raise self._other_version(version)
        elif not readonly:
            with self.transaction():
                self._make_tables()
        self._db.execute("PRAGMA synchronous = FULL")
        (verdict,), *_ = self.fetch("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise _damaged(verdict, self.path, self._noun)

    def _make_tables(self) -> None:
        for table in self._tables:
            for statement in table.create:
                self._db.execute(statement)

    def _other_version(self, version: int) -> RunFolderError:
        noun = self._noun
        if not version:
            what = f"this is not a {noun}"
        else:
            what = f"the {noun} has form {version}, this selfedit reads form {self._version}"
        fix = (
            "use the selfedit that made it (a run's environment.json names its version), or start"
            " in a new folder"
        )
        return RunFolderError(what, where=self.path, fix=fix)


def _explained(error: sqlite3.Error, path: Path, noun: str) -> SelfEditError:
    code = error.sqlite_errorcode
    if code in _FULL:
        return storage_full(path)
    if code in (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE):
        what = f"a row is in the {noun} already, so nothing of this call was stored ({error})"
        return RunFolderError(
            what, where=path, fix=f"ask the {noun} what is done before doing it; this is a bug"
        )
    if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return RunFolderError(
            f"another process holds the {noun}", where=path, fix="end it, then start this one again"
        )
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(str(error), path, noun)
    fix = "check that the folder is there, can be written, and is not on a network file system"
    return RunFolderError(f"the {noun} cannot be used: {error}", where=path, fix=fix)


def _damaged(verdict: str, path: Path, noun: str) -> RunFolderError:
    fix = (
        f"restore it from a copy, save what is left with `sqlite3 {path.name} .recover`, or start"
        " in a new folder"
    )
    return RunFolderError(f"the {noun} is damaged or not a {noun}: {verdict}", where=path, fix=fix)
