"""A run that stops itself: an interrupt that asks to stop at its n-th check."""

from __future__ import annotations

from selfedit.run.interrupt import Interrupt


class Stop(Interrupt):
    """Asks to stop at the n-th check."""

    def __init__(self, checks: int) -> None:
        super().__init__()
        self.left = checks

    def check(self) -> None:
        self.left -= 1
        self.requested = self.left <= 0
        super().check()
