"""An SQLite file with tables made from dataclasses: whole transactions only, and errors in this
project's words.

A run's ledger is one; the kept replies of chat endpoints are another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfedit.errors import RunFolderError, SelfEditError
from selfedit.storage import checked
from selfedit.storage.connection import connect
from selfedit.storage.database_errors import damaged, explained, lost, unreadable
from selfedit.storage.seals import CREATE_SEALS, SealBroken, Seals
from selfedit.storage.tables import R, RecordTable

_ROWS_AT_ONCE = 256


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
        sealed: every transaction stores a hash of its tables' rows, and they are compared when the
            file is opened (`selfedit.storage.seals`).
        begun: the file was made before: missing or empty it is an error, and not made anew.
        check: see at once that it holds what was stored; a large file is read as a whole for that.

    Raises:
        RunFolderError: if the file is not a ledger, has another version's form, is damaged, lost,
            or is locked.
        StorageFull: from here and from every write, if there is no room; nothing of the transaction
            is stored.
    """

    def __init__(
        self,
        path: Path,
        *,
        readonly: bool,
        timeout: float,
        tables: Sequence[RecordTable[Any]],
        version: int = 1,
        noun: str = "ledger",
        sealed: bool = False,
        begun: bool = False,
        check: bool = True,
    ) -> None:
        self.path = path.absolute()
        self._tables = tables
        self._version = version
        self._noun = noun
        self._inside = False
        self._failed = False
        self._checkpoint_due = False
        self._touched: set[str] = set()
        self._identity: tuple[int, int] | None = None
        if begun and not _size(path):
            # Before SQLite sees it: it would drop the log beside an empty file.
            raise lost("is missing" if _size(path) is None else "is empty", self.path, noun)
        try:
            with self.errors():
                self._db = connect(path, readonly=readonly, timeout=timeout)
        except UnicodeDecodeError as error:
            raise damaged(str(error), self.path, noun) from error
        except OSError as error:
            raise unreadable(error, self.path, noun) from error
        self._db.text_factory = lambda data: data.decode("utf-8", "surrogatepass")
        self._seals = Seals(self._db, tables) if sealed else None
        try:
            with self.errors():
                self._prepare(readonly)
                if check:
                    self._check_content()
            self._identity = None if readonly else _identity(self.path)
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
                seals = self._seals.renewed(self._touched) if self._seals else {}
                self._db.execute("COMMIT")
                if self._seals:
                    self._seals.keep(seals)
        except BaseException:
            if self._db.in_transaction:  # some failed transactions SQLite ends itself
                self._db.execute("ROLLBACK")
            raise
        finally:
            self._inside = False
            self._touched.clear()
        if self._checkpoint_due:
            self._checkpoint_due = False
            self.fetch("PRAGMA wal_checkpoint(PASSIVE)")

    def checkpoint(self) -> None:
        """Bring what is stored from the log into the file itself, so that a copy of the file alone
        holds it: now, or when the transaction is over.
        """
        self._checkpoint_due = True
        with self.transaction():
            pass

    def check_there(self) -> None:
        """See that the file is still the one that was opened.

        Raises:
            RunFolderError: it was moved, removed, replaced or emptied meanwhile.
        """
        if self._identity is not None and self._identity != _identity(self.path):
            raise lost("was moved, removed or emptied while it was in use", self.path, self._noun)

    def insert(self, table: RecordTable[R], rows: Iterable[R], conflict: str = "") -> None:
        """Store rows of one table, all or none."""
        with self.transaction():
            self._touched.add(table.name)
            self._db.executemany(table.insert + conflict, map(table.encode, rows))

    def rows(self, table: RecordTable[R], where: str = "", values: tuple[Any, ...] = ()) -> list[R]:
        """A table's rows, in the order of its key."""
        rows = self.fetch(table.select + where + table.order, values)
        try:
            return [table.decode(row) for row in rows]
        except (ValueError, TypeError, KeyError) as error:
            verdict = f"a row of {table.name} cannot be read: {error}"
            raise damaged(verdict, self.path, self._noun) from error

    def each(
        self, table: RecordTable[R], where: str = "", values: tuple[Any, ...] = ()
    ) -> Iterator[R]:
        """The same, read a part at a time as they are asked for."""
        try:
            with self.errors():
                cursor = self._db.execute(table.select + where + table.order, values)
                while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                    yield from map(table.decode, rows)
        except (ValueError, TypeError, KeyError) as error:  # UnicodeDecodeError is a ValueError
            verdict = f"a row of {table.name} cannot be read: {error}"
            raise damaged(verdict, self.path, self._noun) from error

    def fetch(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """What a SELECT gives."""
        try:
            with self.errors():
                return self._db.execute(statement, values).fetchall()
        except UnicodeDecodeError as error:
            raise damaged(str(error), self.path, self._noun) from error

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
            raise explained(error, self.path, self._noun) from error

    def _begin(self) -> None:
        if self._db.in_transaction:  # left by a Ctrl-C that fell between two lines of `transaction`
            self._db.execute("ROLLBACK")
        self.check_there()
        self._db.execute("BEGIN IMMEDIATE")
        if self._seals and self._identity is not None:
            self._checked(self._seals.follow)

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
        elif not readonly and self._seals is None:
            with self.transaction():
                self._make_tables()
        self._db.execute("PRAGMA synchronous = FULL")

    def _check_content(self) -> None:
        """See that the file holds what was stored in it; bytes that were checked before do. Who
        writes to such a file checks its rows at the first transaction, to carry their hashes on.
        """
        digest = checked.bytes_hash(self.path)
        if digest is not None and checked.is_checked(self.path, digest):
            return
        self._check_rows()
        if digest is not None and digest == checked.bytes_hash(self.path):  # no one wrote meanwhile
            checked.note_checked(self.path, digest)

    def _check_rows(self) -> None:
        if self._seals is None:
            (verdict,), *_ = self.fetch("PRAGMA quick_check(1)")
        else:
            self._db.execute("BEGIN")  # one state of the file, whatever another process writes
            self._checked(self._seals.check)
            (verdict,), *_ = self.fetch("PRAGMA integrity_check(1)")
            self._db.execute("COMMIT")
        if verdict != "ok":
            raise damaged(verdict, self.path, self._noun)

    def _checked(self, check: Callable[[], None]) -> None:
        try:
            check()
        except (SealBroken, UnicodeDecodeError) as error:
            raise damaged(str(error), self.path, self._noun) from error
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            # No such table, no such column: the list of tables itself is damaged.
            raise damaged(str(error), self.path, self._noun) from error

    def _make_tables(self) -> None:
        for table in self._tables:
            for statement in table.create:
                self._db.execute(statement)
        if self._seals:
            self._db.execute(CREATE_SEALS)

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


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands at `path`; None for none and for an empty one."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_size else None
