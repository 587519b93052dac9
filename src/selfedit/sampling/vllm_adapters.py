"""Adapters that a vLLM server has for a while.

Where it was started anew it knows none of them: `LoadedAdapters` then has one loaded again, under
another name.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from selfedit.errors import SelfEditError
from selfedit.lm.lora import Adapter
from selfedit.sampling.vllm_server import LOAD, UNLOAD, Gone, VllmServer
from selfedit.storage.files import storage_errors


@contextmanager
def lent(server: VllmServer, adapters: Sequence[Adapter]) -> Iterator[LoadedAdapters]:
    """Adapters loaded under names never used before; unloaded and removed at the end, after an
    error too.

    Raises:
        Unavailable: the server cannot load one.
        StorageFailed: the folder of ``vllm.folder`` cannot be written.
    """
    where = server.settings.folder
    if where is not None and not Path(where).is_dir():
        raise server.failed(f"vllm.folder is no folder here: {where}", "make it, or name another")
    with storage_errors(Path(where or ".")):
        folder = TemporaryDirectory(prefix="selfedit-", dir=where)
    with folder as folder_name:
        # The server may run as another user.
        Path(folder_name).chmod(0o755)
        loaded = LoadedAdapters(server, Path(folder_name), adapters)
        try:
            loaded.load()
            yield loaded
        finally:
            loaded.unload()


class LoadedAdapters:
    """Adapters of ours that a server has, and their names there.

    A name is never used again: the server keeps what it computed under one.
    """

    def __init__(self, server: VllmServer, folder: Path, adapters: Sequence[Adapter]) -> None:
        self._server, self._folder = server, folder
        self._adapters = list(adapters)
        self._names: list[str] = []
        self._lock = threading.Lock()

    def load(self) -> None:
        """Write every adapter where the server finds it, and have it loaded."""
        # A folder each: PEFT's files have the same names in all of them.
        for number, adapter in enumerate(self._adapters):
            adapter.save(self._folder / str(number))
            self._names.append(self._loaded(number))

    def _loaded(self, number: int) -> str:
        # Random: another run, or this one before a restart, may have used any count.
        name = f"selfedit-{uuid.uuid4().hex}"
        settings = self._server.settings
        visible = Path(settings.server_folder or self._folder.parent) / self._folder.name
        path = str((visible if settings.server_folder else visible.resolve()) / str(number))
        self._server.ask(LOAD, {"lora_name": name, "lora_path": path})
        return name

    def name(self, number: int, lost_name: str | None = None) -> str:
        """What an adapter is called at the server; loaded anew where ``lost_name`` still is."""
        # Many threads learn of a restart at once: the first one loads, the others take its name.
        with self._lock:
            if self._names[number] == lost_name:
                self._names[number] = self._loaded(number)
            return self._names[number]

    def unload(self) -> None:
        """Let the server forget all of them; one that cannot be asked has nothing to forget."""
        for name in self._names:
            # A server that was started anew, or is gone, has none of them.
            with suppress(SelfEditError, Gone):
                self._server.ask(UNLOAD, {"lora_name": name}, attempts=1)
