"""What a model has been edited with so far: its adapters one after the other, and their sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from selfedit.inner.job import TrainSequence
from selfedit.lm.lora import Adapter
from selfedit.lm.stack import stack


@dataclass(frozen=True, eq=False)
class Edit:
    """One finished edit.

    Attributes:
        text: what it was made from, for a router: the passage and the self-edit.
        sequences: what it was trained on.
        adapter: what came of it.
        factor: what the adapter is multiplied by; 0 was refused by the gate.
    """

    text: str
    sequences: tuple[TrainSequence, ...]
    adapter: Adapter
    factor: float = 1.0


@dataclass
class Learner:
    """One model on its way through a sequence of edits.

    Attributes:
        edits: all so far, in order.
    """

    edits: list[Edit] = field(default_factory=list)
    _merged: Adapter | None = None
    _merged_edits: int = 0

    @property
    def merged(self) -> Adapter | None:
        """The sum of all edits as one adapter; None while nothing is merged."""
        if self._merged_edits != len(self.edits):
            # Only when it is asked for: a resumed run adds a long sequence's edits one by one.
            self._merged, self._merged_edits = self.with_edits(self.edits), len(self.edits)
        return self._merged

    def add(self, edit: Edit) -> None:
        """Take over a finished edit."""
        self.edits.append(edit)

    def candidate(self, adapter: Adapter, factor: float) -> Adapter | None:
        """What `merged` would be with one more adapter."""
        return self.with_edits([*self.edits, Edit("", (), adapter, factor)])

    @staticmethod
    def with_edits(edits: Sequence[Edit]) -> Adapter | None:
        """Several edits as one adapter; refused ones are left out."""
        kept = [edit for edit in edits if edit.factor]
        return stack([edit.adapter for edit in kept], [edit.factor for edit in kept])

    def earlier(self) -> list[TrainSequence]:
        """What all edits so far were trained on, in order."""
        return [sequence for edit in self.edits for sequence in edit.sequences]
