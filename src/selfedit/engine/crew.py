"""What a pool of workers asks of those who start them and call them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

W = TypeVar("W")
"""What stands for a worker."""
H = TypeVar("H")
"""What stands for a call that a worker was given; hashable."""


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    Attributes:
        kind: ``done``; ``died`` (its worker is gone, with all that it had in hand); ``lost`` (the
            worker lives, its result is gone); ``cancelled``.
        result: what came back.
        reason: of what is gone, one line.
    """

    kind: Literal["done", "died", "lost", "cancelled"]
    result: object = None
    reason: str = ""


class Crew(Protocol[W, H]):
    """Starts workers, calls them, and says how calls ended."""

    def wanted(self) -> int:
        """How many workers there should be now."""
        ...

    def hire(self) -> tuple[W, H]:
        """Begin a worker; the call that ends when it is ready, with what it says of itself."""
        ...

    def call(self, worker: W, work: object) -> H:
        """Give a worker a piece of work; it does what it is given in order."""
        ...

    def ended(self, calls: Sequence[H], seconds: float) -> list[H]:
        """Those of the calls that have ended, at the latest after so many seconds."""
        ...

    def outcome(self, call: H) -> Outcome:
        """How a call ended.

        Raises:
            SelfEditError: the work itself cannot be done, here or elsewhere.
        """
        ...

    def cancel(self, call: H) -> None:
        """Take a call back that its worker has not begun."""
        ...

    def dismiss(self, worker: W) -> None:
        """End a worker at once."""
        ...

    def about(self) -> str:
        """What there is and what a worker asks for, for a message."""
        ...
