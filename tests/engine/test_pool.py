"""Work given out to workers that come, die and lose what they made: told step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfedit.engine import pool as pools
from selfedit.engine.crew import Outcome
from selfedit.engine.pool import IN_HAND, Pool
from selfedit.errors import Interrupted, Unavailable, UsageError


@dataclass
class Fakes:
    """Workers by number. A call is (worker, number); a worker ends its oldest call when it is
    looked at, as the script says: ``done``, ``died``, ``lost``.
    """

    wish: int
    script: list[str] = field(default_factory=list)
    alive: list[int] = field(default_factory=list)
    calls: dict[tuple[int, int], object] = field(default_factory=dict)
    cancelled: set[tuple[int, int]] = field(default_factory=set)
    hired: int = 0
    given: int = 0
    most: int = 0

    def wanted(self) -> int:
        return self.wish

    def hire(self) -> tuple[int, tuple[int, int]]:
        self.hired += 1
        self.alive.append(self.hired)
        return self.hired, (self.hired, 0)

    def call(self, worker: int, work: object) -> tuple[int, int]:
        self.given += 1
        call = (worker, self.given)
        self.calls[call] = work
        self.most = max(self.most, sum(w == worker for w, _ in self.calls))
        return call

    def ended(self, calls: Sequence[tuple[int, int]], seconds: float) -> list[tuple[int, int]]:
        first = {worker: call for worker, *call in sorted(calls, reverse=True)}
        oldest = [(worker, *call) for worker, call in first.items()]
        return oldest + [call for call in calls if call in self.cancelled]  # type: ignore[return-value]

    def outcome(self, call: tuple[int, int]) -> Outcome:
        if call in self.cancelled:
            self.calls.pop(call)
            return Outcome("cancelled")
        work = self.calls.pop(call, "card")
        if work == "bad":
            raise UsageError("bad work")
        kind = self.script.pop(0) if self.script else "done"
        return Outcome(kind, work, f"{kind} here")  # type: ignore[arg-type]

    def cancel(self, call: tuple[int, int]) -> None:
        self.cancelled.add(call)

    def dismiss(self, worker: int) -> None:
        self.alive.remove(worker)
        self.calls = {call: work for call, work in self.calls.items() if call[0] != worker}

    def about(self) -> str:
        return "three fakes"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "REFRESH_SECONDS", 0.0)


def pool_of(crew: Fakes, tries: int = 3, start_seconds: float = 9.0) -> Pool[int, tuple[int, int]]:
    return Pool(crew, tries, start_seconds, poll=0.0)


@given(
    works=st.integers(0, 30),
    wish=st.integers(1, 5),
    script=st.lists(st.sampled_from(["done", "died", "lost"]), max_size=12),
)
@settings(deadline=None, max_examples=200)
def test_every_piece_comes_back_once(works: int, wish: int, script: list[str]) -> None:
    crew = Fakes(wish, script)
    pool = pool_of(crew, tries=100)
    results = list(pool.share([f"work {n}" for n in range(works)], lambda: None))
    assert sorted(results) == sorted((n, f"work {n}") for n in range(works))
    assert crew.most <= IN_HAND
    pool.close()
    assert crew.alive == [] and crew.calls == {}


def test_a_piece_that_ends_its_workers_is_named() -> None:
    crew = Fakes(1, ["done", *["died", "done"] * 3])
    with pytest.raises(Unavailable, match=r"group 0 was lost 3 times .*died here"):
        list(pool_of(crew).share(["a", "b"], lambda: None))


def test_what_a_worker_raises_ends_the_work() -> None:
    crew = Fakes(2)
    with pytest.raises(UsageError, match="bad work"):
        list(pool_of(crew).share(["a", "bad", "c", "d", "e"], lambda: None))
    assert crew.alive == []


def test_asked_to_stop_nothing_more_is_begun() -> None:
    crew = Fakes(2)
    received: list[int] = []

    def check() -> None:
        if received:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        for index, _ in pool_of(crew).share(list(range(40)), check):
            received.append(index)
    assert 1 <= len(received) <= 5 and crew.calls == {}
    assert len(crew.alive) == 2  # they may be needed again


def test_workers_that_do_not_come_up() -> None:
    crew = Fakes(2, ["died"] * 9)
    with pytest.raises(Unavailable, match=r"die while they start: died here(.|\n)*three fakes"):
        list(pool_of(crew).share(["a"], lambda: None))

    class Never(Fakes):
        def ended(self, calls: Sequence[tuple[int, int]], seconds: float) -> list[tuple[int, int]]:
            return []

    with pytest.raises(Unavailable, match="no worker was up"):
        list(pool_of(Never(1), start_seconds=0.05).share(["a"], lambda: None))


def test_more_workers_join() -> None:
    crew = Fakes(1)
    pool = pool_of(crew)
    work = pool.share(list(range(30)), lambda: None)
    next(work)
    crew.wish = 4
    assert len(list(work)) == 29 and len(crew.alive) == 4
    assert pool.cards() == ["card"] * 4
