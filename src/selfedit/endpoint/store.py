"""The replies kept on disk: one for each (endpoint, model, parameters, messages, sample), shared by
all runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from selfedit.errors import StorageFailed
from selfedit.storage.cache import cache_dir
from selfedit.storage.database import Database
from selfedit.storage.tables import RecordTable

_KEYS_AT_ONCE = 500
_TIMEOUT = 60.0  # another process may keep its replies in the same file


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRow:
    """A kept reply and the request it answers; `request` and `raw` are the bodies sent and
    received.
    """

    key: str
    url: str
    model: str
    sample: int
    request: str
    text: str
    finish: str
    tokens_in: int | None
    tokens_out: int | None
    raw: str
    attempts: int
    seconds: float


_REPLIES = RecordTable(ReplyRow, "replies", ("key",))


class ReplyStore:
    """The file of kept replies. It belongs to the thread that opened it; several processes may
    share it. In a folder that cannot be written it can still be read.

    Raises:
        RunFolderError: it is not such a file, or damaged.
        StorageFull: no room, here or when replies are added; none of that call is stored then.
        StorageFailed: it is not there, and its folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._readonly = _is_unwritable(path)
        if not path.exists():
            self.check_writable()
        self._db = Database(
            path, readonly=self._readonly, timeout=_TIMEOUT, tables=(_REPLIES,), noun="reply file"
        )

    def check_writable(self) -> None:
        """See that replies can be kept, before any is paid for.

        Raises:
            StorageFailed: they cannot.
        """
        if self._readonly:
            what = "replies of an endpoint cannot be kept: their folder cannot be written"
            fix = "set SELFEDIT_CACHE, or the endpoint's `cache`, to where you may write"
            raise StorageFailed(what, where=self._path, fix=fix)

    def find(self, keys: Sequence[str]) -> dict[str, ReplyRow]:
        """Those of the replies that are there, by key."""
        rows: dict[str, ReplyRow] = {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            part = keys[start : start + _KEYS_AT_ONCE]
            where = f" WHERE key IN ({', '.join(['CAST(? AS TEXT)'] * len(part))})"
            kept = self._db.rows(_REPLIES, where, tuple(map(str.encode, part)))
            rows |= {row.key: row for row in kept}
        return rows

    def add(self, rows: Iterable[ReplyRow]) -> None:
        """Keep replies, all or none; one that another process has kept meanwhile stays as it is."""
        self._db.insert(_REPLIES, rows, " ON CONFLICT DO NOTHING")

    def close(self) -> None:
        """Close the file; everything kept is already on the disk."""
        self._db.close()


def default_store() -> Path:
    """Where replies are kept unless a setting says otherwise."""
    return cache_dir() / "replies.sqlite"


def _is_unwritable(path: Path) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return True
    return not os.access(path.parent, os.W_OK)
