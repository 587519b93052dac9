"""ReST-EM (Singh et al. 2023, arXiv 2312.06585) over self-edits, as SEAL uses it (arXiv
2506.10943).

E-step: the policy writes M self-edits for each of N contexts; an inner loop and the context's
questions score each. M-step: the policy learns from them. Samples are on-policy: each round uses
the last one's policy, and all its inner loops start from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from selfedit.lm.lora import Adapter
from selfedit.rl.credit import with_line_credit
from selfedit.rl.e_step import check_choices, score_round
from selfedit.rl.movement import measure_movement
from selfedit.rl.own_questions import plan_with_own_questions
from selfedit.rl.plan import plan_rounds
from selfedit.rl.policy import adopt_policy, keep_policy
from selfedit.rl.progress_rows import follow_losses
from selfedit.rl.rounds import Round, finish_round, finished_round, rl_place
from selfedit.rl.run_cards import write_cards
from selfedit.rl.session import AnySession
from selfedit.rl.updates.base import ScoredEdits
from selfedit.run.records import Place
from selfedit.tasks.task import Context

AfterRound = Callable[[int, Adapter | None], None]


def run_rounds(
    session: AnySession,
    contexts: Sequence[Context],
    after: AfterRound | None = None,
    heldout: Sequence[Context] = (),
) -> tuple[list[Round], Adapter | None]:
    """Run every round that is not finished yet.

    Args:
        session: the run.
        contexts: what to draw each round's contexts from.
        after: called after every round, finished before or now, with its number and the policy's
            adapter (None where the policy is in the weights), while the session is the policy's.
        heldout: contexts that no round learns from; on their prompts too it is seen whether the
            policy moved.

    Returns:
        What each round did, and the policy's adapter if it is kept apart (``rl.mstep.merge =
        false``).

    Raises:
        DataError: fewer contexts than the rounds ask for, or contexts without questions.
        UsageError: self-edits leave nothing to choose, or the update cannot learn from them.
    """
    plan = plan_rounds(session.settings, contexts)
    # Before the first self-edit is paid for.
    if plan:
        check_choices(session)
    if session.settings.rl.questions == "own" and plan:
        plan, contexts = plan_with_own_questions(session, plan, contexts)
    policy: Adapter | None = None
    rounds: list[Round] = []
    for number, chosen in enumerate(plan, start=1):
        done = finished_round(session, number)
        if fresh := done is None:
            # The E-step: write, train, ask, grade, reward; all of it in the ledger.
            used = score_round(session, number, chosen, contexts, policy)
            # The M-step, stored only when the new policy is on the disk.
            done = learn(session, number, used, heldout)
        # A fresh policy is in this process's weights already; a finished one is read from its
        # folder.
        policy = adopt_policy(session, number, done.policy, policy, in_weights=fresh)
        rounds.append(done)
        if after is not None:
            after(number, policy)
    return rounds, policy


def learn(
    session: AnySession, number: int, used: Sequence[Context], heldout: Sequence[Context]
) -> Round:
    """M-step: the policy learns from what was rewarded, is saved, and only then is the round called
    finished.
    """
    session.interrupt.check()
    place: Place = rl_place(number)
    ledger = session.run.ledger
    edits, rewards = ledger.self_edits(place), ledger.rewards(place)
    scored = ScoredEdits(number, {context.id: context for context in used}, edits, rewards)
    scored = with_line_credit(session, scored)
    adapter = session.update.update(session, scored)
    if adapter is not None:
        follow_losses(session.run, "policy", adapter.losses, round=number)
    movement = measure_movement(session, scored, heldout, adapter)
    digest = None if adapter is None else keep_policy(session, number, adapter)
    session.progress.tell(movement.sentence(number))
    done = finish_round(session, number, used, rewards, digest, movement)
    write_cards(session)
    return done
