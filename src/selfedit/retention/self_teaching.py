"""Remedies by a teacher: KL to the model before the edit, and distillation from the model that sees
the passage.

**KL to the model before the edit**, on the new text and on replayed sequences: learning without
forgetting (Li and Hoiem 2016, arXiv 1606.09282); that this divergence on the new task predicts what
is forgotten is found by RL's Razor (arXiv 2509.04259).

**Self-distillation**: the model with the passage in its prompt teaches the model without it.
Context distillation (Snell et al. 2022, arXiv 2209.15189), and in a sequence of tasks SDFT (arXiv
2601.19897). As in SDFT, teacher and pupil are one model; other than there, the text that is read is
the self-edit, a sample of the model *with* the passage, where
SDFT samples from the pupil: a pupil that does not know the passage yet writes nothing about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from selfedit.inner.job import TrainSequence
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.teacher import teach
from selfedit.tasks.task import Context


def taught_by_itself(
    lm: LanguageModel,
    sequences: Sequence[TrainSequence],
    adapters: Sequence[Adapter | None],
    weight: float,
) -> list[TrainSequence]:
    """Each sequence with the model under its adapter as a teacher, beside what loss it has."""
    teachers = teach(lm, [(s.ids, s.loss) for s in sequences], weight=weight, adapters=adapters)
    return [replace(s, teacher=teacher) for s, teacher in zip(sequences, teachers, strict=True)]


def taught_with_passage(
    lm: LanguageModel,
    sequences: Sequence[TrainSequence],
    contexts: Sequence[Context],
    adapters: Sequence[Adapter | None],
    weight: float,
) -> list[TrainSequence]:
    """Each sequence with the model that reads its passage first as a teacher; the next-token loss
    keeps the rest.
    """
    prefixes = {
        context.id: lm.encode(f"{context.title}\n{context.text}\n\n") for context in contexts
    }
    teachers = teach(
        lm,
        [(s.ids, s.loss) for s in sequences],
        weight=weight,
        prefixes=[prefixes[context.id] for context in contexts],
        adapters=adapters,
    )
    return [
        replace(s, teacher=t, weight=1 - weight) for s, t in zip(sequences, teachers, strict=True)
    ]
