"""The held-out passages of a run."""

from __future__ import annotations

import random

from selfedit.config import Settings
from selfedit.errors import DataError
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.task import Context


def heldout_contexts(settings: Settings) -> list[Context]:
    """The held-out passages that a run with these settings asks about."""
    if settings.heldout is None:
        return []
    heldout = load_contexts(settings.heldout, require_questions=True)
    if settings.heldout_shuffle is not None:
        random.Random(settings.heldout_shuffle).shuffle(heldout)
    if settings.heldout_contexts is not None:
        if settings.heldout_contexts > len(heldout):
            what = (
                f"{settings.heldout_contexts} held-out passages asked for, there are {len(heldout)}"
            )
            raise DataError(what, where=settings.heldout, fix="lower heldout_contexts")
        heldout = heldout[: settings.heldout_contexts]
    return heldout
