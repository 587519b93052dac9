"""One run that is looked at: its ledger and the index of it, read by one thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from selfedit.config import make_settings
from selfedit.errors import RunFolderError, SelfEditError
from selfedit.run.folder import RunFolder
from selfedit.run.marker import is_run
from selfedit.serving.failures import Failure
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts
from selfedit.tasks.knowledge.heldout import heldout_contexts
from selfedit.tasks.task import Context
from selfedit.view.index import EditIndex
from selfedit.view.listing import ViewedRun

T = TypeVar("T")
_FOLLOW_SECONDS = 0.12
"""How long a question waits for more of the index."""


class RunReader:
    """A run's files, for the thread that opened them.

    Attributes:
        run: opened for reading.
        index: of its self-edits.
    """

    def __init__(self, viewed: ViewedRun) -> None:
        self.viewed = viewed
        # Its rows are checked aside, see `OpenRun`: for 10^5 trials that takes a while.
        self.run = RunFolder.read(viewed.path, check=False)
        self.index = EditIndex(self.run.ledger)
        self.identity = _ledger_file(viewed.path)

    @cached_property
    def passages(self) -> dict[str, Context]:
        """The passages that the run learns from and is asked about, by id, as far as its data files
        are there and say what they said when it began.
        """
        hashes = self.run.settings.get("data")
        if not isinstance(hashes, dict):
            return {}
        known: dict[str, Context] = {}
        for name, load in (("train", self._train), ("heldout", self._heldout)):
            try:
                contexts = load()
                if name in hashes and data_hash(contexts) == hashes[name]:
                    known |= {context.id: context for context in contexts}
            # Moved, changed or of another version: ids are shown, and the page says why.
            except (SelfEditError, OSError, ValueError):
                continue
        return known

    def _train(self) -> list[Context]:
        source = self.run.settings.get("train")
        return load_contexts(source) if source else []

    def _heldout(self) -> list[Context]:
        stored = {name: value for name, value in self.run.settings.items() if name != "data"}
        return heldout_contexts(make_settings(stored, self.viewed.path))


class OpenRun:
    """A run's reader in a thread of its own.

    Attributes:
        verdict: None while the ledger's rows have not been checked, then empty, or what is wrong.
    """

    def __init__(self, viewed: ViewedRun) -> None:
        self.viewed = viewed
        self.verdict: str | None = None
        self._checking = self._closed = False
        self._reader: RunReader | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="view")

    async def ask(self, work: Callable[[RunReader], T]) -> T:
        """What a piece of work finds, once the index has been read on for a moment.

        Raises:
            Failure: the run is gone.
            SelfEditError: it cannot be read.
        """
        if self._closed:
            raise Failure(503, "this run was closed meanwhile; ask again", code="closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    def _work(self, work: Callable[[RunReader], T]) -> T:
        if not is_run(self.viewed.path):
            self._drop()
            raise Failure(404, "this run is gone: its folder was moved or removed", code="gone")
        if self._reader and self._reader.identity != _ledger_file(self.viewed.path):
            self._drop()  # another run has taken its place
        try:
            return self._answered(work)
        except (ValueError, TypeError, KeyError) as error:
            # Rows are read before they are checked: anything may stand in them.
            what = f"the ledger holds what cannot be read: {error}"
            raise RunFolderError(what, where=self.viewed.path) from error

    def _answered(self, work: Callable[[RunReader], T]) -> T:
        if self._reader is None:
            self._reader = RunReader(self.viewed)
        if self._reader.index.follow(_FOLLOW_SECONDS) and not self._checking:
            self._checking = True
            # A daemon: Ctrl-C is not to wait for it.
            threading.Thread(target=self._check, name="checking", daemon=True).start()
        return work(self._reader)

    def _check(self) -> None:
        """Read every row once more, as every other verb does before it trusts a ledger."""
        try:
            RunFolder.read(self.viewed.path).close()
            self.verdict = ""
        except (SelfEditError, OSError) as error:
            self.verdict = error.what if isinstance(error, SelfEditError) else str(error)

    def _drop(self) -> None:
        if self._reader is not None:
            self._reader.run.close()
        self._reader, self._checking, self.verdict = None, False, None

    def close(self) -> None:
        """Let the files go, when what is asked now is answered."""
        self._closed = True
        self._thread.submit(self._drop)
        self._thread.shutdown(wait=False)


def _ledger_file(path: Path) -> tuple[int, int] | None:
    try:
        status = (path / "ledger.sqlite").stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
