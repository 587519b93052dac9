"""Which contexts each round of reinforcement learning works on."""

from __future__ import annotations

import random
from collections.abc import Sequence

from selfedit.config import Settings
from selfedit.errors import DataError
from selfedit.rl.rewards.base import reward_of
from selfedit.rl.session import AnySession
from selfedit.rl.updates.base import update_of
from selfedit.run.records import Phase, Place
from selfedit.run.seeds import derive
from selfedit.tasks.task import Context, split_contexts


def spare_contexts(
    session: AnySession, number: int, chosen: Sequence[Context], every: Sequence[Context]
) -> list[Context]:
    """The contexts that a round may try in place of others, in an order of the run's seed: those
    that no round is planned for, or, with ``rl.fresh``, has tried before.
    """
    rl, ledger = session.settings.rl, session.run.ledger
    if not rl.refill:
        return []
    used = {context.id for context in chosen}
    # With fresh contexts a spare one must not be a later round's own.
    if rl.fresh:
        used |= {c.id for planned in plan_rounds(session.settings, every) for c in planned}
        for earlier in range(1, number):
            edits = ledger.self_edits(Place(Phase.RL, round=earlier))
            used |= {row.context_id for row in edits}
    spare = [context for context in every if context.id not in used]
    # By round: two rounds that need spare contexts try different ones first.
    random.Random(derive(session.settings.seed, "spare", number)).shuffle(spare)
    return spare


def plan_rounds(settings: Settings, contexts: Sequence[Context]) -> list[list[Context]]:
    """The contexts of each round, drawn by the run's seed.

    Raises:
        DataError: fewer contexts than the rounds ask for, or contexts without questions.
        UsageError: there is no such reward or update, or it lacks something.
    """
    rl = settings.rl
    without = (
        [context.id for context in contexts if not context.questions]
        if rl.questions == "gold"
        else []
    )
    if without:
        fix = (
            "give every training passage its questions, or let the model write them: rl.questions"
            " = own"
        )
        raise DataError(
            f"{len(without)} passages have no questions to score self-edits by",
            where=without[0],
            fix=fix,
        )
    # Without rl.fresh every round works on the same contexts.
    needed = rl.contexts * (rl.rounds if rl.fresh else 1)
    if rl.rounds and needed > len(contexts):
        what = f"{rl.rounds} rounds need {needed} passages, there are {len(contexts)}"
        raise DataError(
            what,
            where="rl.contexts",
            fix="give more passages, lower rl.contexts or set rl.fresh = false",
        )
    seed = derive(settings.seed, "contexts")
    plan = split_contexts(
        contexts, [rl.contexts] * (rl.rounds if rl.fresh else min(rl.rounds, 1)), seed=seed
    )
    # Made here although only later used: a name that does not exist ends the run before it began.
    if rl.rounds:
        reward_of(settings).check(plan, contexts)
        update_of(settings)
    return plan if rl.fresh else plan * rl.rounds
