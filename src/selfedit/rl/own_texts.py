"""What the unedited model writes of its own accord, for remedies that rehearse it: written once a
run, then read from its ledger.
"""

from __future__ import annotations

from collections.abc import Iterable

from selfedit.config import REMEDY_CHOICE
from selfedit.retention.remedies.base import OwnText
from selfedit.retention.remedies.pseudorehearsal import write_own_texts
from selfedit.rl.session import AnySession

STEP = "own texts"


def kept_own_texts(session: AnySession, remedies: Iterable[str]) -> list[OwnText]:
    """The own texts of the run's model if one of the remedies wants them, else none."""
    if not any(REMEDY_CHOICE.load(name).wants_own_texts for name in remedies):
        return []
    settings, ledger = session.settings, session.run.ledger
    if (stored := ledger.step(STEP)) is None:
        rehearsal = settings.retention.pseudorehearsal
        stored = {"texts": write_own_texts(session.task, rehearsal, settings.seed)}
        ledger.finish_step(STEP, stored)
    return [(ids, start) for ids, start in stored["texts"]]
