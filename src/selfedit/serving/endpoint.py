"""The endpoint itself: OpenAI's routes as a Starlette application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from selfedit.serving.failures import Failure
from selfedit.serving.guard import HANDLERS, AccessGuard
from selfedit.serving.limits import HEAD_SECONDS
from selfedit.serving.pending import Arrivals, Events, PendingReply, sender
from selfedit.serving.replies import ReplyForm, model_card, model_list, source_headers
from selfedit.serving.requests import ChatBody, CompletionBody, SamplingBody, read_request
from selfedit.serving.service import Asked, Service
from selfedit.storage.bounded import Unreadable, decoded, json_value

T = TypeVar("T")


def application(service: Service, *, token: str | None, hosts: Sequence[str]) -> AccessGuard:
    """The endpoint of a service.

    Args:
        service: what answers; its scheduler runs while the application does.
        token: what clients have to name; None for an open door.
        hosts: names that clients may call this server by, besides addresses and ``localhost``.
    """
    endpoint = Endpoint(service)
    routes = [
        Route("/healthz", endpoint.health, methods=["GET"]),
        Route("/v1/models", endpoint.models, methods=["GET"]),
        Route("/v1/models/{name:path}", endpoint.model, methods=["GET"]),
        Route("/v1/chat/completions", endpoint.chat, methods=["POST"]),
        Route("/v1/completions", endpoint.completions, methods=["POST"]),
    ]
    return AccessGuard(Starlette(routes=routes, exception_handlers=HANDLERS), token, hosts)


class Endpoint:
    """What each route does."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def health(self, request: Request) -> Response:
        """Whether it runs, and how busy it is."""
        return JSONResponse({"status": "ok", **self.service.scheduler.load})

    async def models(self, request: Request) -> Response:
        """Every name that can be asked."""
        return JSONResponse(model_list(self.service.shelf))

    async def model(self, request: Request) -> Response:
        """One of them."""
        name = request.path_params["name"]
        if name not in self.service.shelf.names:
            raise Failure(404, "there is no model of this name here", code="model_not_found")
        return JSONResponse(model_card(self.service.shelf, name))

    async def chat(self, request: Request) -> Response:
        """``/v1/chat/completions``."""
        body = read_request(ChatBody, await self._body(request))
        return await self._answer(request, body, self.service.chat, chat=True)

    async def completions(self, request: Request) -> Response:
        """``/v1/completions``."""
        body = read_request(CompletionBody, await self._body(request))
        return await self._answer(request, body, self.service.completions, chat=False)

    async def _answer(
        self, request: Request, body: T, prepare: Callable[[T], list[Asked]], *, chat: bool
    ) -> Response:
        assert isinstance(body, SamplingBody)
        # Not in the loop: adapters are read from disk, and long prompts take a while to tokenise.
        prompts = await to_thread.run_sync(prepare, body)
        form = ReplyForm(
            self.service.lm,
            chat=chat,
            model=body.model,
            sources=[prompt.source for prompt in prompts],
            each=body.n,
            prompt_tokens=sum(len(prompt.ids) for prompt in prompts),
            logs=body.alternatives is not None,
        )
        arrivals: Arrivals = asyncio.Queue()
        tickets = self.service.submit(body, prompts, sender(arrivals))
        headers = source_headers(form.sources)
        answer = PendingReply(self.service, form, tickets, arrivals, len(tickets))
        if body.stream:
            events = answer.events(usage=bool(body.stream_options.include_usage))
            return Events(events, answer.give_up, headers)
        try:
            texts = await _unless_gone(request, answer.texts())
        finally:
            answer.give_up()
        return JSONResponse(form.whole(texts), headers=headers)

    async def _body(self, request: Request) -> object:
        """The JSON of a request's body, within the limits."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # a page elsewhere cannot send this without being let
            raise Failure(415, "send JSON with content-type: application/json")
        data = bytearray()
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                async for part in request.stream():
                    data += part
                    if len(data) > self.service.limits.max_body:
                        most = self.service.limits.max_body
                        raise Failure(413, f"the body has more than {most:,} bytes")
        except TimeoutError:
            raise Failure(408, "the body did not come in time") from None
        try:
            return await to_thread.run_sync(lambda: json_value(decoded(bytes(data))))
        except Unreadable as error:
            where = f" ({error.location})" if error.location else ""
            raise Failure(400, f"{error.reason}{where}", code="invalid_json") from None


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What comes of the work, unless the client goes away before.

    Raises:
        Failure: it has gone; nobody reads this.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Failure(499, "the client has gone")
        return await working
    finally:
        working.cancel()
        leaving.cancel()
