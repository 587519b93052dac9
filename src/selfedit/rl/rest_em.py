"""ReST-EM (Singh et al. 2023, arXiv 2312.06585) over self-edits, as SEAL uses it (arXiv
2506.10943).

E-step: the policy writes M self-edits for each of N contexts; an inner loop and the context's
questions score each. M-step: the policy learns from them. Samples are on-policy: each round uses
the last one's policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from selfedit.lm.lora import Adapter
from selfedit.rl.base_answers import measure_base
from selfedit.rl.own_questions import plan_with_own_questions
from selfedit.rl.plan import plan_rounds
from selfedit.rl.policy import adopt_policy, keep_policy
from selfedit.rl.racing import run_race
from selfedit.rl.rewards.base import ScoredRound
from selfedit.rl.rounds import Round, finish_round, finished_round, reward_rows, rl_place
from selfedit.rl.sample import sample
from selfedit.rl.scoring import run_trials
from selfedit.rl.session import Session
from selfedit.rl.trial import plan_trials
from selfedit.rl.updates.base import ScoredEdits
from selfedit.tasks.task import Context

AfterRound = Callable[[int, Adapter | None], None]


def train(
    session: Session[Any], contexts: Sequence[Context], after: AfterRound | None = None
) -> tuple[list[Round], Adapter | None]:
    """Run every round that is not finished yet.

    Args:
        session: the run.
        contexts: what to draw each round's contexts from.
        after: called after every round, finished before or now, with its number and the policy's
            adapter (None where the policy is in the weights), while the session's model has the
            policy's weights.

    Returns:
        What each round did, and the policy's adapter if it is kept apart (``rl.mstep.merge =
        false``).

    Raises:
        DataError: fewer contexts than the rounds ask for, or contexts without questions.
    """
    plan = plan_rounds(session.settings, contexts)
    if session.settings.rl.questions == "own" and plan:
        plan, contexts = plan_with_own_questions(session, plan, contexts)
    policy: Adapter | None = None
    rounds: list[Round] = []
    for number, chosen in enumerate(plan, start=1):
        done = finished_round(session, number)
        if fresh := done is None:
            score_round(session, number, chosen, contexts, policy)
            done = learn(session, number, chosen)
        policy = adopt_policy(session, number, done.policy, policy, in_weights=fresh)
        rounds.append(done)
        if after is not None:
            after(number, policy)
    return rounds, policy


def score_round(
    session: Session[Any],
    number: int,
    chosen: Sequence[Context],
    every: Sequence[Context],
    policy: Adapter | None,
) -> None:
    """E-step: self-edits are written, tried and rewarded."""
    place, rl, ledger, reward = (
        rl_place(number),
        session.settings.rl,
        session.run.ledger,
        session.reward,
    )
    if ledger.rewards(place):
        return
    edits = sample(session, place, chosen, rl.candidates, policy)
    asked = reward.prepare(session, number, chosen, every, policy)
    alive = None
    if reward.needs:
        measure_base(session, place, asked, reward.needs)
        if rl.racing:
            alive = run_race(
                session, place, lambda repeat: plan_trials(session, place, asked, edits, [repeat])
            )
        else:
            run_trials(
                session,
                place,
                plan_trials(session, place, asked, edits, range(rl.repeats)),
                reward.needs,
            )
    session.stand_on(None)
    scored = ScoredRound(place, chosen, edits, ledger.trials(place))
    ledger.add_rewards(reward_rows(scored, reward.values(session, scored), rl, alive))


def learn(session: Session[Any], number: int, chosen: Sequence[Context]) -> Round:
    """M-step: the policy learns from what was rewarded, is saved, and only then is the round called
    finished.
    """
    session.interrupt.check()
    place, ledger = rl_place(number), session.run.ledger
    edits, rewards = ledger.self_edits(place), ledger.rewards(place)
    scored = ScoredEdits(number, {context.id: context for context in chosen}, edits, rewards)
    adapter = session.update.update(session, scored)
    digest = None if adapter is None else keep_policy(session, number, adapter)
    return finish_round(session, number, chosen, rewards, digest)
