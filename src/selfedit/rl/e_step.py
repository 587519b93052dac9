"""E-step: a round's self-edits are written, tried and rewarded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from selfedit.errors import DataError, UsageError
from selfedit.lm.lora import Adapter
from selfedit.rl.advantages import differ, known_rewards
from selfedit.rl.base_answers import measure_base
from selfedit.rl.credit import check_lines
from selfedit.rl.listed import write_every
from selfedit.rl.plan import spare_contexts
from selfedit.rl.progress_rows import follow_rewards
from selfedit.rl.racing import run_race
from selfedit.rl.rewards.base import ScoredRound
from selfedit.rl.rounds import reward_rows, rl_place
from selfedit.rl.sample import sample
from selfedit.rl.scoring import run_trials
from selfedit.rl.session import AnySession
from selfedit.rl.trial import plan_trials
from selfedit.run.records import Place, RewardRow, SelfEditRow
from selfedit.tasks.task import Context

Alive = Mapping[str, frozenset[int]] | None


def check_choices(session: AnySession) -> None:
    """Refuse, before anything is sampled, a grammar that leaves one self-edit only, and what the
    update cannot learn from.

    Raises:
        UsageError: says what is lacking.
    """
    session.update.check(session)
    check_lines(session)
    rule, mask = session.task.rule(), np.ones(len(session.lm.head), dtype=np.bool_)
    if rule is None:
        return
    # Forced tokens are followed until there is a choice: one is enough.
    while not rule.done:
        rule.allowed(mask)
        allowed = np.flatnonzero(mask)
        if len(allowed) > 1:
            return
        rule.advance(int(allowed[0]))
    what = "the grammar of self-edits leaves one choice: there is nothing to learn"
    raise UsageError(what, where="arc.spec", fix="allow two or more values of something")


def score_round(
    session: AnySession,
    number: int,
    chosen: Sequence[Context],
    every: Sequence[Context],
    policy: Adapter | None,
) -> list[Context]:
    """Write, try and reward a round's self-edits; what the ledger has is not done again.

    With ``rl.refill`` contexts whose self-edits all earned the same are learned from no more, and
    as many others are tried in their stead, as often as it says and while there are others (the
    dynamic sampling of DAPO, Yu et al. 2025, arXiv 2503.14476).

    Returns:
        The contexts that were tried.
    """
    ledger = session.run.ledger
    place: Place = rl_place(number)
    spare = spare_contexts(session, number, chosen, every)
    # Rewards are stored last: where they are, the whole E-step is done.
    if rows := ledger.rewards(place):
        known = {row.context_id for row in rows}
        return [context for context in [*chosen, *spare] if context.id in known]
    used, batch, flat = list(chosen), list(chosen), set[str]()
    for left in reversed(range(session.settings.rl.refill + 1)):
        alive = _try(session, number, place, batch, every, policy)
        rows = _rewarded(session, place, used, alive)
        flat = _flat(rows)
        # As many as fell out for want of signal, not more.
        lacking = len(chosen) - (len(used) - len(flat))
        batch, spare = spare[:lacking], spare[lacking:]
        if not left or not batch:
            break
        used += batch
        session.progress.tell(
            f"round {number}: {len(flat)} contexts have self-edits that all earned the same;"
            f" {len(batch)} others are tried"
        )
    # Rewards may have stood on earlier passages; the M-step starts from the policy itself.
    session.stand_on(None)
    if session.settings.rl.refill:
        # What earned the same as all others may have been kept; learning from it is what refill
        # prevents.
        rows = [replace(row, kept=row.kept and row.context_id not in flat) for row in rows]
    follow_rewards(session.run, rows)
    ledger.add_rewards(rows)
    return used


def _try(
    session: AnySession,
    number: int,
    place: Place,
    contexts: Sequence[Context],
    every: Sequence[Context],
    policy: Adapter | None,
) -> Alive:
    """Self-edits of these contexts, and what the reward needs measured of them; with racing, the
    candidates that stayed in the race.
    """
    rl, reward = session.settings.rl, session.reward
    edits = _write_edits(session, place, contexts, policy)
    questioned = reward.prepare(session, number, contexts, every, policy)
    if not reward.needs:
        return None
    measure_base(session, place, questioned, reward.needs)
    if rl.racing:
        # With racing every repeat is planned by itself, for those that still run.
        return run_race(
            session, place, lambda repeat: plan_trials(session, place, questioned, edits, [repeat])
        )
    planned = plan_trials(session, place, questioned, edits, range(rl.repeats))
    run_trials(session, place, planned, reward.needs)
    return None


def _write_edits(
    session: AnySession, place: Place, contexts: Sequence[Context], policy: Adapter | None
) -> list[SelfEditRow]:
    """What is tried of these contexts: samples, or every self-edit there is."""
    rl, ids = session.settings.rl, {context.id for context in contexts}
    if rl.draw == "every":
        edits = write_every(session, place, contexts)
    else:
        edits = sample(session, place, contexts, rl.candidates, policy)
    # After a refill the place holds other contexts' self-edits too.
    return [row for row in edits if row.context_id in ids]


def _rewarded(
    session: AnySession, place: Place, used: Sequence[Context], alive: Alive
) -> list[RewardRow]:
    """What every self-edit earned.

    Raises:
        DataError: the reward says nothing of one; NaN says that nothing is known.
    """
    ledger, ids = session.run.ledger, {context.id for context in used}
    # A round that goes on after a kill has tried contexts that this step of it does not know yet.
    written = [row for row in ledger.self_edits(place) if row.context_id in ids]
    trials = [trial for trial in ledger.trials(place) if trial.context_id in ids]
    scored = ScoredRound(place, used, written, trials)
    values = session.reward.values(session, scored)
    edits = [(row.context_id, row.candidate) for row in scored.edits]
    bases = [(context.id, None) for context in used]
    missing = [key for key in [*edits, *bases] if key not in values]
    if missing:
        name, candidate = missing[0]
        what = f"the reward says nothing of {len(missing)} of {len(edits)} self-edits"
        where = f"{name}, {'the unadapted model' if candidate is None else candidate}"
        fix = "let Reward.values give every candidate a Value, NaN where nothing is known"
        raise DataError(what, where=where, fix=fix)
    return reward_rows(scored, values, session.settings.rl, alive)


def _flat(rows: Sequence[RewardRow]) -> set[str]:
    """The contexts whose self-edits all earned the same."""
    known = known_rewards(rows)
    return {name for name, rewards in known.items() if not differ(list(rewards.values()))}
