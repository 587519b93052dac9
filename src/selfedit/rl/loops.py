"""Inner loops that are to be run: which self-edit, of which context, with which seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from selfedit.rl.session import Session
from selfedit.run.ledger import InnerKey, SelfEditRow
from selfedit.run.seeds import derive
from selfedit.tasks.task import Context


@dataclass(frozen=True)
class InnerLoop:
    """One inner loop to run: this self-edit (as the task read it) of this context, with this seed."""

    context: Context
    candidate: int
    repeat: int
    edit: Any
    seed: int
    order_seed: int

    @property
    def key(self) -> InnerKey:
        """Its name in the ledger, within a phase and round."""
        return InnerKey(self.context.id, self.candidate, self.repeat)


def edit_loops(
    session: Session,
    phase: str,
    round: int,
    contexts: Iterable[Context],
    edits: Sequence[SelfEditRow],
    repeats: Iterable[int],
) -> list[InnerLoop]:
    """The repeats of every self-edit, read by the task; repeats of one number share their data order."""
    by_id, seed, numbers = {context.id: context for context in contexts}, session.settings.seed, list(repeats)
    return [
        InnerLoop(
            by_id[row.context_id],
            row.candidate,
            repeat,
            session.task.parse(row.text),
            derive(seed, "inner", phase, round, row.context_id, row.candidate, repeat),
            derive(seed, "order", phase, round, repeat),
        )
        for row in edits
        for repeat in numbers
    ]
