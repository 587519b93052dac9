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
from selfedit.view.comparing import scores_of, side_by_side
from selfedit.view.details import MOST_WHOLE, context_page, whole_edits
from selfedit.view.events import events
from selfedit.view.folders import ViewedRun, run_summary, viewed_runs
from selfedit.view.overview import overview, places
from selfedit.view.query import filters_of, whole, wholes
from selfedit.view.reader import OpenRun, RunReader
from selfedit.view.replies import Headed, reply

_KEPT_OPEN = 8
_SNIPPET, _MOST_ROWS, _MOST_CONTEXTS = 280, 200, 50
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
        filters = filters_of(query)
        offset, count = whole(query, "offset", 0), whole(query, "count", 50, most=_MOST_ROWS)

        def listed(reader: RunReader) -> dict[str, object]:
            numbers = reader.index.matching(filters)
            rows, total = reader.index.done
            shown = reader.index.rows(numbers[offset : offset + count], _SNIPPET)
            at = _position(numbers, whole(query, "find", -1, least=-1))
            return {
                "count": len(numbers),
                "rows": shown,
                "offset": offset,
                "position": at,
                "indexed": rows,
                "total": total,
            }

        return reply(await self._of(query).ask(listed))

    async def _whole(self, request: Request) -> Response:
        numbers = wholes(request.query_params, "ids", MOST_WHOLE)
        found = await self._of(request.query_params).ask(lambda r: whole_edits(r, numbers))
        return reply({"edits": found})

    async def _points(self, request: Request) -> Response:
        def drawn(reader: RunReader) -> dict[str, object]:
            count, points = reader.index.points()
            return {"count": count, "points": points, "places": places(reader)}

        return reply(await self._of(request.query_params).ask(drawn))

    async def _contexts(self, request: Request) -> Response:
        text = request.query_params.get("q", "")[:500]
        found = await self._of(request.query_params).ask(
            lambda r: r.index.contexts(text, _MOST_CONTEXTS)
        )
        return reply({"contexts": found})

    async def _context(self, request: Request) -> Response:
        number = whole(request.query_params, "context", -1)
        return reply(await self._of(request.query_params).ask(lambda r: context_page(r, number)))

    async def _compare(self, request: Request) -> Response:
        query = request.query_params
        one = await self._of(query, "a").ask(scores_of)
        other = await self._of(query, "b").ask(scores_of)
        return reply(side_by_side(one, other, query.get("method", "")))

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
        """A run that is looked at; the one opened first is let go where there are many."""
        viewed = self._viewed(query, name)
        if viewed.id not in self._open:
            while len(self._open) >= _KEPT_OPEN:
                self._open.pop(next(iter(self._open))).close()
            self._open[viewed.id] = OpenRun(viewed)
        return self._open[viewed.id]


def _position(numbers: list[int], wanted: int) -> int | None:
    return numbers.index(wanted) if wanted in numbers else None


def _static_files() -> dict[str, tuple[bytes, str]]:
    """The page's own files by path, read once: a request's path is never one on the disk."""
    static: dict[str, tuple[bytes, str]] = {}
    for file in sorted(files("selfedit.view").joinpath("page").iterdir(), key=lambda f: f.name):
        suffix = Path(file.name).suffix
        if suffix in _TYPES:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            static[path] = (file.read_bytes(), _TYPES[suffix])
    return static
