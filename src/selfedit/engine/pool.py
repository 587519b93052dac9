"""Workers somewhere else that come and go: pieces of work are given out, and given out again when
the worker that had them is lost.

What a worker is, and how it is told something, is behind a `selfedit.engine.crew.Crew`: Ray's
actors are one (`engine.ray_crew`), workers that sleep in a simulation another.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic

from selfedit.engine.crew import Crew, H, Outcome, W
from selfedit.errors import Interrupted, Unavailable
from selfedit.run.interrupt import asked_to_stop

_LOG = logging.getLogger(__name__)

IN_HAND = 2
"""Pieces of work a worker has: the one it does, and the next, so that it never waits for ours."""
REFRESH_SECONDS = 2.0
"""How often the crew is looked at: nodes join and leave."""


@dataclass
class _Member(Generic[W, H]):
    worker: W
    hello: H | None
    card: object = None
    calls: deque[tuple[H, int]] = field(default_factory=deque[tuple[H, int]])


class Pool(Generic[W, H]):
    """A crew at work.

    Args:
        crew: what starts workers and calls them.
        tries: how often a piece of work is given out at the most.
        start_seconds: for how long no worker at all may be up.
        poll: seconds between two looks at whether the caller wants to stop.
    """

    def __init__(
        self, crew: Crew[W, H], tries: int, start_seconds: float, poll: float = 0.5
    ) -> None:
        self._crew, self._tries, self._start_seconds, self._poll = crew, tries, start_seconds, poll
        self._members: list[_Member[W, H]] = []
        self._failed_starts = 0
        self._alone_since = time.monotonic()
        self._looked = float("-inf")

    def share(
        self, works: Sequence[object], check: Callable[[], None]
    ) -> Iterator[tuple[int, object]]:
        """Yield (index, result) as pieces of work are finished, in any order.

        Asked to stop, it gives out no more and raises once what is being done is finished.

        Raises:
            Interrupted: what ``check`` raised.
            Unavailable: no worker comes up, or a piece of work ended every worker that had it.
            SelfEditError: what a worker raised.
        """
        waiting, losses = deque(range(len(works))), Counter[int]()
        stopped: Interrupted | None = None
        complete = False
        self._alone_since = time.monotonic()
        try:
            while self._busy() or (waiting and stopped is None):
                if stopped is None and (stopped := asked_to_stop(check)) is not None:
                    self._take_back()
                if stopped is None:
                    self._muster()
                    self._give(waiting, works)
                for member, call in self._ended():
                    index, result = self._received(member, call, waiting, losses)
                    # The worker goes on before the caller deals with what it has brought.
                    if index is not None:
                        if stopped is None:
                            self._give(waiting, works)
                        yield index, result
            if stopped is not None:
                raise stopped
            complete = True
        finally:
            # Left early or with an error: workers may be in work that nobody will receive.
            if not complete and self._busy():
                self.close()

    def cards(self) -> list[object]:
        """What the workers that are up say of themselves; waits for the first of them."""
        self._alone_since = time.monotonic()
        while not any(member.hello is None for member in self._members):
            self._muster()
            for member, call in self._ended():
                self._received(member, call, deque(), Counter())
        return [member.card for member in self._members if member.hello is None]

    def close(self) -> None:
        """End all workers at once."""
        for member in self._members:
            self._crew.dismiss(member.worker)
        self._members.clear()

    def _busy(self) -> bool:
        return any(member.calls for member in self._members)

    def _muster(self) -> None:
        """Begin the workers that are wanted and not there; give up if none comes up."""
        now = time.monotonic()
        if any(member.hello is None for member in self._members):
            self._alone_since = now
        elif now - self._alone_since > self._start_seconds:
            what = f"no worker was up for {self._start_seconds:.0f} seconds"
            fix = "add nodes that have what a worker asks for, or ask for less; then start again"
            raise Unavailable(what, where=self._crew.about(), fix=fix)
        if now - self._looked < REFRESH_SECONDS:
            return
        self._looked = now
        for _ in range(self._crew.wanted() - len(self._members)):
            worker, hello = self._crew.hire()
            self._members.append(_Member(worker, hello))

    def _give(self, waiting: deque[int], works: Sequence[object]) -> None:
        """Give work to those who have least; a second piece only while there is one for all."""
        ready = [member for member in self._members if member.hello is None]
        for level in range(IN_HAND):
            for member in ready:
                scarce = level > 0 and len(waiting) < len(ready)
                if not waiting or scarce:
                    return
                if len(member.calls) <= level:
                    index = waiting.popleft()
                    member.calls.append((self._crew.call(member.worker, works[index]), index))

    def _ended(self) -> list[tuple[_Member[W, H], H]]:
        """Calls that have ended, oldest first for each worker."""
        owners: dict[H, _Member[W, H]] = {}
        for member in self._members:
            owners |= {call: member for call, _ in member.calls}
            if member.hello is not None:
                owners[member.hello] = member
        if not owners:
            time.sleep(self._poll)
            return []
        over = set(self._crew.ended(list(owners), self._poll))
        return [(owners[call], call) for call in owners if call in over]

    def _received(
        self, member: _Member[W, H], call: H, waiting: deque[int], losses: Counter[int]
    ) -> tuple[int | None, object]:
        """Deal with one ended call: (index, result) of finished work, or (None, None)."""
        if member not in self._members:  # gone with an earlier call of this turn
            return None, None
        outcome = self._crew.outcome(call)
        if call == member.hello:
            self._greet(member, outcome)
            return None, None
        index = next(index for known, index in member.calls if known == call)
        if outcome.kind == "died":
            self._bury(member, outcome, waiting, losses)
            return None, None
        member.calls.remove((call, index))
        if outcome.kind == "done":
            return index, outcome.result
        if outcome.kind == "lost":
            self._count(index, outcome, member, losses)
        waiting.appendleft(index)
        return None, None

    def _greet(self, member: _Member[W, H], outcome: Outcome) -> None:
        if outcome.kind == "done":
            member.hello, member.card, self._failed_starts = None, outcome.result, 0
            return
        self._members.remove(member)
        self._crew.dismiss(member.worker)
        self._failed_starts += 1
        _LOG.warning("a worker died while it started: %s", outcome.reason)
        alone = not any(other.hello is None for other in self._members)
        if alone and self._failed_starts >= self._tries:
            what = f"workers die while they start: {outcome.reason}"
            fix = "see the cluster's logs of that node; most often memory is short"
            raise Unavailable(what, where=self._crew.about(), fix=fix)

    def _bury(
        self, member: _Member[W, H], outcome: Outcome, waiting: deque[int], losses: Counter[int]
    ) -> None:
        """A worker is gone: what it did costs a try, what it had besides is given back."""
        in_hand = [index for _, index in member.calls]
        self._members.remove(member)
        self._crew.dismiss(member.worker)
        self._looked = float("-inf")  # another is begun at once
        _LOG.warning(
            "a worker is lost (%s): %s; its work is given out again", member.card, outcome.reason
        )
        self._count(in_hand[0], outcome, member, losses)
        waiting.extendleft(reversed(in_hand))

    def _count(
        self, index: int, outcome: Outcome, member: _Member[W, H], losses: Counter[int]
    ) -> None:
        losses[index] += 1
        if losses[index] >= self._tries:
            what = f"group {index} was lost {losses[index]} times with its worker: {outcome.reason}"
            fix = (
                "the run goes on where it stopped: start it again, with a smaller inner.group if"
                " memory was short"
            )
            raise Unavailable(what, where=f"the last time on {member.card}", fix=fix)

    def _take_back(self) -> None:
        """Take back what no worker has begun yet."""
        for member in self._members:
            for call, _ in list(member.calls)[1:]:
                self._crew.cancel(call)
