"""The page and what it asks for, as a Starlette application."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from anyio import to_thread
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from selfedit.serving.failures import Failure
from selfedit.serving.guard import HANDLERS, AccessGuard
from selfedit.view.asking import Asker, OpenService
from selfedit.view.comparing import beside, scores_of
from selfedit.view.details import context_page, whole_edits
from selfedit.view.events import events
from selfedit.view.listing import ViewedRun, run_summary, viewed_runs
from selfedit.view.opened import OpenRun, RunReader
from selfedit.view.overview import overview, places
from selfedit.view.query import Chosen, Filters, Page, read_query
from selfedit.view.replies import Headed, reply

_KEPT_OPEN = 8
_SNIPPET, _MOST_CONTEXTS = 280, 50
_TYPES = {
    ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml",
}  # fmt: skip


class ViewPage:
    """What each route does.

    Args:
        root: a run, a library, or a folder of runs.
        open_service: loads what is asked; None where nothing may be.

    Raises:
        RunFolderError: there is no run at the path.
    """

    def __init__(self, root: Path, open_service: OpenService | None = None) -> None:
        self.root, self.asker = root, Asker(open_service)
        self._runs = viewed_runs(root)
        self._open: dict[str, OpenRun] = {}
        self.closing = asyncio.Event()
        self.static = _static_files()

    def application(self, token: str | None, hosts: Sequence[str]) -> Headed:
        """The page behind its door; its own files are open, for they say nothing of any run."""
        routes = [Route(path, self._static, methods=["GET"]) for path in self.static]
        routes += [
            Route("/api/runs", self._list, methods=["GET"]),
            Route("/api/run", self._run, methods=["GET"]),
            Route("/api/edits", self._edits, methods=["GET"]),
            Route("/api/whole", self._whole, methods=["GET"]),
            Route("/api/points", self._points, methods=["GET"]),
            Route("/api/contexts", self._contexts, methods=["GET"]),
            Route("/api/context", self._context, methods=["GET"]),
            Route("/api/compare", self._compare, methods=["GET"]),
            Route("/api/events", self._events, methods=["GET"]),
            Route("/api/load", self._load, methods=["POST"]),
            Route("/api/ask", self._ask, methods=["POST"]),
        ]
        app = Starlette(routes=routes, exception_handlers=HANDLERS)
        return Headed(AccessGuard(app, token, hosts, self.static))

    def close(self) -> None:
        """End every stream, and let all files go."""
        self.closing.set()
        self.asker.close()
        for opened in self._open.values():
            opened.close()

    async def _static(self, request: Request) -> Response:
        data, kind = self.static[request.url.path]
        return Response(data, media_type=kind)

    async def _list(self, request: Request) -> Response:
        # In a thread: a folder on a slow disk is not to hold up who reads a run.
        self._runs = await to_thread.run_sync(viewed_runs, self.root)
        summaries = await to_thread.run_sync(lambda: list(map(run_summary, self._runs.values())))
        return reply(
            {"runs": summaries, "root": self.root.resolve().name, "can_ask": self.asker.allowed}
        )

    async def _run(self, request: Request) -> Response:
        ids = {viewed.path: viewed.id for viewed in self._runs.values()}
        return reply(await self._of(request.query_params).ask(lambda r: overview(r, ids)))

    async def _edits(self, request: Request) -> Response:
        query = request.query_params
        filters, part = read_query(Filters, query), read_query(Page, query)

        def listed(reader: RunReader) -> dict[str, object]:
            numbers = reader.index.matching(filters)
            rows, total = reader.index.done
            return {
                "count": len(numbers),
                "rows": reader.index.rows(numbers[part.offset :][: part.count], _SNIPPET),
                "position": numbers.index(part.find) if part.find in numbers else None,
                "indexed": rows,
                "total": total,
            }

        return reply(await self._of(query).ask(listed))

    async def _whole(self, request: Request) -> Response:
        ids = read_query(Chosen, request.query_params).ids
        numbers = list(map(int, filter(None, ids.split(","))))
        edits = await self._of(request.query_params).ask(lambda r: whole_edits(r, numbers))
        return reply({"edits": edits})

    async def _points(self, request: Request) -> Response:
        def drawn(reader: RunReader) -> dict[str, object]:
            count, points = reader.index.points()
            indexed = reader.index.done[0]
            return {"count": count, "points": points, "places": places(reader), "indexed": indexed}

        return reply(await self._of(request.query_params).ask(drawn))

    async def _contexts(self, request: Request) -> Response:
        word = read_query(Filters, request.query_params).q
        names = await self._of(request.query_params).ask(
            lambda r: r.index.contexts(word, _MOST_CONTEXTS)
        )
        return reply({"contexts": names})

    async def _context(self, request: Request) -> Response:
        number = read_query(Chosen, request.query_params).context
        return reply(await self._of(request.query_params).ask(lambda r: context_page(r, number)))

    async def _compare(self, request: Request) -> Response:
        query = request.query_params
        one = await self._of(query, "a").ask(scores_of)
        other = await self._of(query, "b").ask(scores_of)
        return reply(beside(one, other, read_query(Chosen, query).method))

    async def _events(self, request: Request) -> Response:
        stream = events(self._of(request.query_params), self.closing)
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    async def _load(self, request: Request) -> Response:
        return reply(await self.asker.load(self._viewed(request.query_params).path))

    async def _ask(self, request: Request) -> Response:
        return await self.asker.answer(self._viewed(request.query_params).path, request)

    def _viewed(self, query: QueryParams, name: str = "run") -> ViewedRun:
        viewed = self._runs.get(query.get(name, ""))
        if viewed is None:
            raise Failure(404, "there is no such run here", param=name, code="no_run")
        return viewed

    def _of(self, query: QueryParams, name: str = "run") -> OpenRun:
        """A run that is looked at; of many, the one unused for longest is let go."""
        viewed = self._viewed(query, name)
        opened = self._open.pop(viewed.id, None) or OpenRun(viewed)
        while len(self._open) >= _KEPT_OPEN:
            self._open.pop(next(iter(self._open))).close()
        self._open[viewed.id] = opened
        return opened


def _static_files() -> dict[str, tuple[bytes, str]]:
    """The page's own files by path, read once: a request's path is never one on the disk."""
    static: dict[str, tuple[bytes, str]] = {}
    for file in sorted(files("selfedit.view").joinpath("page").iterdir(), key=lambda f: f.name):
        suffix = Path(file.name).suffix
        if suffix in _TYPES:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            static[path] = (file.read_bytes(), _TYPES[suffix])
    return static
