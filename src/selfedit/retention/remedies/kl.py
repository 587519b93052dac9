"""KL to the model before the edit, on the new text and on earlier sequences (see
`retention.self_teaching`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from selfedit.inner.job import TrainSequence
from selfedit.lm.lora import Adapter
from selfedit.retention.remedies.base import EditBatch, Remedy
from selfedit.retention.remedies.replay import rehearsable, sample_items
from selfedit.retention.self_teaching import taught_by_itself
from selfedit.run.seeds import derive


class KLToBefore(Remedy):
    """The divergence as a loss beside the others; where nothing is replayed, some earlier sequences
    carry it alone.
    """

    turn = 20

    def change(self, batch: EditBatch) -> None:
        """See `Remedy`."""
        kl = self.settings.kl
        for number, edit in enumerate(batch.edits):
            if not batch.apart and not batch.mixed[number]:
                earlier = rehearsable(edit, self.settings.replay.size)
                prompts = sample_items(earlier, kl.prompts, derive(edit.seed, "replay"))
                batch.mixed[number] = [replace(sequence, weight=0.0) for sequence in prompts]
        batch.new = self._taught(batch.new, batch.starts, kl.weight)
        batch.mixed = self._taught(batch.mixed, batch.starts, kl.weight)

    def _taught(
        self,
        groups: Sequence[Sequence[TrainSequence]],
        starts: Sequence[Adapter | None],
        weight: float,
    ) -> list[list[TrainSequence]]:
        flat = [s for sequences in groups for s in sequences]
        adapters = [
            start for sequences, start in zip(groups, starts, strict=True) for _ in sequences
        ]
        taught = iter(taught_by_itself(self.task.lm, flat, adapters, weight))
        return [list(islice(taught, len(sequences))) for sequences in groups]


REMEDY = KLToBefore
