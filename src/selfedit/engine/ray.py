"""Workers that are actors of a Ray cluster, on this machine or on many.

An actor asks the cluster for a GPU, or for cores, and loads the model there once. Groups go to it
as calls, a new policy goes once into the cluster's object store, results come back to this process,
which alone writes the run's ledger. Who is given what is decided in `engine.pool`; nodes may join
and leave, and an actor that dies costs the group it had in hand, which is given out again.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from selfedit.config import Settings
from selfedit.engine.base import Done, OnTokens, Reading, Room, TrialBatch, Writing
from selfedit.engine.local import Work
from selfedit.engine.pool import Pool
from selfedit.errors import Unavailable, first_line
from selfedit.lm.generate import Completion
from selfedit.run.interrupt import own_signals

try:
    import ray
except ImportError as error:
    raise Unavailable(
        "Ray is not installed here",
        where="engine.kind = ray",
        fix="pip install 'selfedit[ray]', here and on every node",
    ) from error
from selfedit.engine.ray_actor import Card
from selfedit.engine.ray_crew import RayCrew

CONNECT_SECONDS = 10.0
"""For how long an address may not answer."""


class RayEngine:
    """The engine of a Ray cluster.

    Args:
        settings: of the run: ``engine``, ``workers``, and the model that every worker loads by its
            name.
        policy: a model folder here whose weights the workers take instead.

    Raises:
        Unavailable: there is no such cluster, or it speaks another version.
    """

    def __init__(self, settings: Settings, policy: Path | None = None) -> None:
        self._ours = _connect(settings.engine.address)
        self._crew = RayCrew(settings)
        self._pool = Pool(self._crew, settings.engine.tries, settings.engine.start_seconds)
        self.workers = self._crew.wanted()
        if policy is not None:
            self.load_weights(policy)

    def run(
        self, batches: Sequence[TrialBatch], on_tokens: OnTokens, check: Callable[[], None]
    ) -> Iterator[tuple[int, Done]]:
        """See `Engine`; tokens are told when a group is done."""
        works = [("batch", batch) for batch in batches]
        for index, done in cast("Iterator[tuple[int, Done]]", self._pool.share(works, check)):
            on_tokens(sum(loop.tokens for loop in done.loops))
            yield index, done

    def write(self, works: Sequence[Writing]) -> list[list[Completion]]:
        """See `Engine`."""
        return self._all("write", works)

    def read(self, works: Sequence[Reading]) -> list[list[float]]:
        """See `Engine`."""
        return self._all("read", works)

    def _all(self, kind: Work, works: Sequence[object]) -> list[Any]:
        done = dict(self._pool.share([(kind, work) for work in works], lambda: None))
        return [done[number] for number in range(len(works))]

    def room(self) -> Room:
        """See `Engine`: of the worker with the least memory."""
        cards = [card for card in self._pool.cards() if isinstance(card, Card)]
        least = min(cards, key=lambda card: card.total)
        # Workers on CPUs of one node have its memory together, also those that are not up yet.
        sharing = 1 if least.kind == "cuda" else min(self.workers, self._crew.most_on_a_node())
        return Room(least.total, min(card.free for card in cards), sharing, least.kind)

    def load_weights(self, folder: Path) -> None:
        """See `Engine`."""
        self._crew.load_weights(folder)

    def close(self) -> None:
        """End the actors; the cluster too if it was begun for this run."""
        self._pool.close()
        if self._ours:
            ray.shutdown()
            self._ours = False


def _connect(address: str) -> bool:
    """Join the cluster; whether it is to be left again."""
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        quiet["include_dashboard"] = False
    if address not in ("auto", "local"):
        _check_listens(address)
    try:
        with own_signals():
            ray.init(address=address, namespace="selfedit", **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise _cannot_join(address, first_line(error)) from error
    return True


def _check_listens(address: str) -> None:
    """Ray itself tries for minutes where nothing listens, and prints what it tries."""
    match = re.fullmatch(r"(?:ray://)?\[?([^\[\]/]+?)\]?:(\d{1,5})", address)
    if match is None:
        raise _cannot_join(address, "this is no HOST:PORT")
    try:
        socket.create_connection((match[1], int(match[2])), CONNECT_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise _cannot_join(address, first_line(error)) from error


def _cannot_join(address: str, reason: str) -> Unavailable:
    fix = (
        "start one (ray start --head, on this machine), give engine.address = HOST:PORT or"
        " ray://HOST:PORT, use the same versions of Ray and Python everywhere, or begin one here"
        " with engine.address = local"
    )
    what = f"the Ray cluster cannot be joined: {reason}"
    return Unavailable(what, where=f"engine.address = {address}", fix=fix)
