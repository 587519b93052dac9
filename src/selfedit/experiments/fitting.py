"""A run on few passages: the numbers that its defaults or its recipe ask for come down to what
there is.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from selfedit.config import Settings
from selfedit.tasks.named import contexts_of


def fitted(settings: Settings, typed: Container[str] = ()) -> tuple[Settings, list[str]]:
    """The settings with no more passages than there are, and in words what came down.

    What a person typed stays as it is, and is refused where it cannot be met.

    Args:
        settings: of a run of `selfedit train`.
        typed: dotted names of settings that stay.

    Raises:
        UsageError, DataError, FormatError: settings or data that cannot be used.
    """
    contexts, heldout = contexts_of(settings.model_copy(update={"heldout_contexts": None}))
    # Without rl.fresh every round works on the same passages.
    rounds = settings.rl.rounds if settings.rl.fresh else min(settings.rl.rounds, 1)
    present = {"heldout_contexts": len(heldout)}
    if rounds:
        present["rl.contexts"] = len(contexts) // rounds
    fewer = dict(_fewer(settings, present, typed))
    rl_contexts = fewer.get("rl.contexts", settings.rl.contexts)
    rl = settings.rl.model_copy(update={"contexts": rl_contexts})
    heldout_contexts = fewer.get("heldout_contexts", settings.heldout_contexts)
    words = [f"{name} is {number}: there are no more passages" for name, number in fewer.items()]
    changes = {"rl": rl, "heldout_contexts": heldout_contexts}
    return settings.model_copy(update=changes), words


def _fewer(
    settings: Settings, present: dict[str, int], typed: Container[str]
) -> Iterator[tuple[str, int]]:
    """What is asked for and not there, unless there is nothing at all: that is an error."""
    numbers = {"heldout_contexts": settings.heldout_contexts, "rl.contexts": settings.rl.contexts}
    for name, number in present.items():
        wished = numbers[name]
        if name not in typed and wished is not None and 0 < number < wished:
            yield name, number
