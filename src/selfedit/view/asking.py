"""Questions put to what a run has learned: its model is loaded when somebody first asks, and stays
until another run is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from selfedit.serving.failures import Failure

if TYPE_CHECKING:
    from selfedit.serving.endpoint import Endpoint
    from selfedit.serving.service import Service

OpenService = Callable[[Path], "Service"]


class Asker:
    """What answers, one run's at a time.

    Args:
        open_service: loads what a folder has learned; None where nothing may be asked.
    """

    def __init__(self, open_service: OpenService | None) -> None:
        self._open = open_service
        self._path: Path | None = None
        self._endpoint: Endpoint | None = None
        self._lock = asyncio.Lock()

    @property
    def allowed(self) -> bool:
        """Whether anything may be asked at all."""
        return self._open is not None

    async def load(self, path: Path) -> dict[str, Any]:
        """Load a run's model and what it has learned, if it is not; the names that can be asked.

        Raises:
            Failure: nothing may be asked.
            SelfEditError: there is nothing to ask, or it cannot be loaded.
        """
        shelf = (await self._loaded(path)).service.shelf
        return {"names": shelf.names, "base": shelf.base, "kind": shelf.kind}

    async def answer(self, path: Path, request: Request) -> Response:
        """A chat's reply, as ``/v1/chat/completions`` of `selfedit serve` gives it."""
        return await (await self._loaded(path)).chat(request)

    async def _loaded(self, path: Path) -> Endpoint:
        if self._open is None:
            raise Failure(404, "asking was left out: start the page without --no-ask")
        # Whoever asks meanwhile waits for the same model.
        async with self._lock:
            if self._endpoint is None or self._path != path:
                # Before the next is loaded: memory may not hold two models.
                self.close()
                self._endpoint = await to_thread.run_sync(self._begin, self._open, path)
                self._path = path
            return self._endpoint

    @staticmethod
    def _begin(open_service: OpenService, path: Path) -> Endpoint:
        from selfedit.serving.endpoint import Endpoint

        service = open_service(path)
        service.scheduler.start()
        return Endpoint(service)

    def close(self) -> None:
        """Take nothing new; what runs is finished."""
        if self._endpoint is not None:
            self._endpoint.service.scheduler.stop()
        self._endpoint = None
