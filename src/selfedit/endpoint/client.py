"""Many requests to one endpoint: what is kept is taken, the rest is asked and kept as it comes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from selfedit.config.endpoint import EndpointSettings
from selfedit.endpoint.chat import REFUSED, Bill, ChatReply, ChatRequest, cost
from selfedit.endpoint.http import FIRST_PAUSE
from selfedit.endpoint.senders import Senders
from selfedit.endpoint.store import ReplyRow, ReplyStore, default_store
from selfedit.endpoint.transport import HttpAnswer, Transport
from selfedit.errors import Unavailable
from selfedit.run.interrupt import asked_to_stop
from selfedit.storage.cache import expanded
from selfedit.storage.files import canonical_json

_ENOUGH = 8
"""Requests that are declined, and none answered, before the endpoint is given up."""

_Outcome = tuple[str, "HttpAnswer | BaseException"]


class EndpointClient:
    """Asks an endpoint, and keeps every reply on disk before anyone sees it.

    What is kept needs neither key nor network nor the package ``openai``: they are looked for when
    something has to be asked. Declined requests are not kept. Use it from one thread, in a
    ``with``.

    Args:
        endpoint: where, which model, how hard, what it costs.
        cache: the file of kept replies; None takes the settings', else the one in selfedit's cache.
        first_pause: seconds before a failed request is sent again; it doubles from there.
        bill: one to go on with; None begins a new one.

    Attributes:
        bill: what the replies so far cost.

    Raises:
        RunFolderError: the cache is not a file of replies.
        StorageFailed: it is not there, and its folder cannot be written.
    """

    def __init__(
        self,
        endpoint: EndpointSettings,
        cache: Path | None = None,
        *,
        first_pause: float = FIRST_PAUSE,
        bill: Bill | None = None,
    ) -> None:
        self.endpoint, self.bill = endpoint, bill or Bill()
        self._first_pause = first_pause
        self._store = ReplyStore(
            cache or (expanded(endpoint.cache) if endpoint.cache else default_store())
        )

    def stream(
        self, requests: Sequence[ChatRequest], check: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[int, ChatReply]]:
        """Yield (index, reply) as they come, the kept ones first; equal requests are asked once.

        ``check`` is called now and then and may raise `Interrupted`: no more is asked then, what is
        under way is waited for and kept, and it is raised. A failure that ends everything does the
        same. Declined requests are yielded with ``refused`` set, unless no request of this call was
        answered: then the request itself is at fault.

        Raises:
            Unavailable: the package, the key, the endpoint or the model is not there, or it failed
                too often.
            StorageFull, StorageFailed: no room to keep the replies, or no right to.
        """
        places: dict[str, list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            places[request.key(self.endpoint)].append(index)
        kept = self._store.find(list(places))
        for key, row in kept.items():
            yield from self._given(key, places[key], self._reply(row, cached=True))
        missing = {key: requests[at[0]] for key, at in places.items() if key not in kept}
        for key, row in self._fetch(missing, check, answered=bool(kept)):
            yield from self._given(key, places[key], self._reply(row, cached=False))

    def replies(
        self, requests: Sequence[ChatRequest], check: Callable[[], None] = lambda: None
    ) -> list[ChatReply]:
        """Every reply, in the order of the requests; raises as `stream` does."""
        replies = dict(self.stream(requests, check))
        return [replies[index] for index in range(len(requests))]

    def close(self) -> None:
        """Close the file of kept replies."""
        self._store.close()

    def __enter__(self) -> EndpointClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _given(
        self, key: str, places: Sequence[int], reply: ChatReply
    ) -> Iterator[tuple[int, ChatReply]]:
        self.bill.add(key, reply)
        for index in places:
            yield index, reply

    def _reply(self, row: ReplyRow, *, cached: bool) -> ChatReply:
        price = cost(self.endpoint, row.tokens_in, row.tokens_out)
        counts = (row.tokens_in, row.tokens_out, price)
        return ChatReply(row.text, row.finish, *counts, row.raw, cached, row.attempts, row.seconds)

    def _row(self, key: str, request: ChatRequest, answer: HttpAnswer) -> ReplyRow:
        return ReplyRow(
            key=key,
            url=self.endpoint.url,
            model=self.endpoint.model or "",
            sample=request.sample,
            request=canonical_json(request.body(self.endpoint), indent=None).decode(),
            text=answer.text,
            finish=answer.finish,
            tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out,
            raw=answer.raw,
            attempts=answer.attempts,
            seconds=answer.seconds,
        )

    def _fetch(
        self, missing: dict[str, ChatRequest], check: Callable[[], None], *, answered: bool
    ) -> Iterator[tuple[str, ReplyRow]]:
        """Ask what is missing; replies are kept, then given out."""
        if not missing:
            return
        self._store.check_writable()
        transport = Transport(self.endpoint, self._first_pause)
        crew = Senders(transport.send, missing.items(), self.endpoint.concurrency)
        failure: BaseException | None = None
        declined: list[ReplyRow] = []
        try:
            while crew.busy or (crew.waiting and failure is None):
                failure = failure or asked_to_stop(check)
                if failure is None:
                    crew.give_out()
                else:
                    # Nobody sends again; what has been sent is waited for.
                    transport.stopping.set()
                rows, failed = self._sort(missing, crew.collect())
                self._store.add(row for row in rows if row.finish != REFUSED)
                answered = answered or any(row.finish != REFUSED for row in rows)
                declined += [row for row in rows if row.finish == REFUSED]
                if failed is None and not answered and len(declined) >= min(len(missing), _ENOUGH):
                    failed = _all_declined(declined[0])
                failure = failure or failed
                for row in rows:
                    yield row.key, row
        finally:
            transport.close()
            crew.close()
        if failure is not None:
            raise failure

    def _sort(
        self, missing: dict[str, ChatRequest], outcomes: Sequence[_Outcome]
    ) -> tuple[list[ReplyRow], BaseException | None]:
        rows: list[ReplyRow] = []
        failure: BaseException | None = None
        for key, outcome in outcomes:
            if isinstance(outcome, HttpAnswer):
                rows.append(self._row(key, missing[key], outcome))
            else:
                failure = (
                    failure or outcome
                )  # raised once the good rows of all requests under way are kept
        return rows, failure


def _all_declined(row: ReplyRow) -> Unavailable:
    """An endpoint that declines the first requests will most likely decline all."""
    fix = (
        "check the endpoint's settings against what it says: another token_limit, model or"
        " temperature perhaps"
    )
    return Unavailable(
        f"the endpoint declines the request: {row.raw[:300]}", where=row.url, fix=fix
    )
