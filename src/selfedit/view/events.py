"""What happens in a run, told as it happens: server-sent events, one whenever something is new."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from selfedit.errors import SelfEditError
from selfedit.run.records import Phase, Place
from selfedit.serving.failures import Failure, failure_of
from selfedit.storage.files import JsonObject
from selfedit.view.opened import OpenRun, RunReader
from selfedit.view.overview import place_name
from selfedit.view.replies import json_bytes

_TICK_SECONDS, _FILLING_SECONDS = 1.0, 0.02
_PING_TICKS = 15
"""A stream that says nothing for longer is taken for dead by what stands between."""


def standing(reader: RunReader) -> JsonObject:
    """How far a run is, in numbers that are looked up and not counted."""
    ledger, (rows, total) = reader.run.ledger, reader.index.done
    steps = ledger.steps()
    last = reader.run.ledger.fetch(
        "SELECT phase, method, round FROM main.trials ORDER BY rowid DESC LIMIT 1"
    )
    return {
        "state": reader.viewed.state,
        "indexed": rows,
        "total": total,
        "steps": [step.name for step in steps],
        "place": _place_of(last[0]) if last else "",
        "finished": reader.viewed.finished,
    }


def _place_of(values: tuple[Any, ...]) -> str:
    return place_name(Place(Phase(values[0]), values[1], values[2]))


async def events(opened: OpenRun, closing: asyncio.Event) -> AsyncIterator[bytes]:
    """A run's standing whenever it changes, until the run is gone or the server ends."""
    before: JsonObject = {}
    quiet = 0
    while not closing.is_set():
        try:
            now: JsonObject = {**await opened.ask(standing), "checked": opened.verdict}
        except (Failure, SelfEditError) as error:
            failure = failure_of(error)
            if failure.status == 503:  # let go for others: the page comes again, and it is opened
                return
            yield _as_event({"gone": failure.message})
            return
        if now != before:
            yield _as_event(now)
            before, quiet = now, 0
        elif (quiet := quiet + 1) % _PING_TICKS == 0:
            yield b": still there\n\n"
        # While the index is being filled each look at it reads on, so the next one comes at once.
        filling = now["indexed"] < now["total"]
        try:
            async with asyncio.timeout(_FILLING_SECONDS if filling else _TICK_SECONDS):
                await closing.wait()
        except TimeoutError:
            continue


def _as_event(value: object) -> bytes:
    return b"data: " + json_bytes(value) + b"\n"
