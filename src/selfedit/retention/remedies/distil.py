"""Self-distillation: the model with the passage in its prompt teaches the model without (see
`retention.self_teaching`).
"""

from __future__ import annotations

from itertools import islice

from selfedit.inner.job import TrainSequence
from selfedit.lm.lora import Adapter
from selfedit.retention.remedies.base import EditBatch, Remedy
from selfedit.retention.self_teaching import taught_with_passage
from selfedit.tasks.task import Context


class SelfDistillation(Remedy):
    """The self-edit's sequences have the teacher; the passage itself, the last one, has not."""

    turn = 30

    def change(self, batch: EditBatch) -> None:
        """See `Remedy`."""
        written = [len(sequences) - self.task.settings.edit.passage for sequences in batch.new]
        flat: list[TrainSequence] = []
        contexts: list[Context] = []
        adapters: list[Adapter | None] = []
        for edit, start, sequences, count in zip(
            batch.edits, batch.starts, batch.new, written, strict=True
        ):
            flat += sequences[:count]
            contexts += [edit.context] * count
            adapters += [start] * count
        weight = self.settings.distil.weight
        taught = iter(taught_with_passage(self.task.lm, flat, contexts, adapters, weight))
        batch.new = [
            [*islice(taught, count), *sequences[count:]]
            for sequences, count in zip(batch.new, written, strict=True)
        ]


REMEDY = SelfDistillation
