"""ReST-EM (Singh et al. 2023, arXiv 2312.06585) over self-edits, as SEAL uses it (arXiv 2506.10943).

E-step: the policy writes M self-edits for each of N contexts; an inner loop and the context's questions score each.
M-step: supervised finetuning of the policy on the kept ones. Samples are on-policy: each round uses the last one's
policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from selfedit.config import Settings
from selfedit.errors import DataError, RunFolderError
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.lm.load import load_weights
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.rl.kept import earlier_contexts, learn_earlier, lost, own_answers
from selfedit.rl.loops import InnerLoop, edit_loops
from selfedit.rl.own_questions import plan_with_own_questions
from selfedit.rl.policy import merge, save_policy
from selfedit.rl.proxy import check_judge
from selfedit.rl.racing import raced_rewards, run_race
from selfedit.rl.sample import sample
from selfedit.rl.score import accuracies
from selfedit.rl.session import Session
from selfedit.rl.signals import measure, measure_base, measured
from selfedit.run.ledger import BASE, RewardRow, SelfEditRow
from selfedit.run.seeds import derive
from selfedit.storage.files import hash_folder
from selfedit.tasks.task import Context, split_contexts

PHASE = "rl"


@dataclass(frozen=True)
class Round:
    """What one round did, as it stands in the results.

    Attributes:
        round: its number, from 1.
        contexts, self_edits: how many.
        baseline: mean accuracy of the model that inner loops start from, unadapted.
        accuracy: mean accuracy over all self-edits.
        best: mean over contexts of the best candidate's accuracy (the candidate was chosen on the same answers).
            These three are None where a judge gave no verdict at all.
        kept: self-edits the policy learned from.
        policy: hash of the policy's folder; None if nothing was kept and the policy stayed as it was.
    """

    round: int
    contexts: int
    self_edits: int
    baseline: float | None
    accuracy: float | None
    best: float | None
    kept: int
    policy: str | None


def train(
    session: Session, contexts: Sequence[Context], after: Callable[[int, Adapter | None], None] | None = None
) -> tuple[list[Round], Adapter | None]:
    """Run every round that is not finished yet.

    Args:
        session: the run.
        contexts: what to draw each round's contexts from.
        after: called after every round, finished before or now, with its number and the policy's adapter (None where
            the policy is in the weights), while the session's model has the policy's weights.

    Returns:
        What each round did, and the policy's adapter if it is kept apart (``rl.mstep.merge = false``).

    Raises:
        DataError: fewer contexts than the rounds ask for, or contexts without questions.
    """
    plan = plan_rounds(session.settings, contexts)
    if session.settings.rl.questions == "own" and plan:
        plan, contexts = plan_with_own_questions(session, plan, contexts)
    policy: Adapter | None = None
    rounds = []
    for number, chosen in enumerate(plan, start=1):
        payload = session.run.ledger.step(f"round-{number}")
        if payload is None:
            _e_step(session, number, chosen, policy, contexts)
            payload = _m_step(session, number, chosen)
        policy = _load_policy(session, number, payload, policy)
        rounds.append(Round(**payload))
        if after is not None:
            after(number, policy)
    return rounds, policy


def plan_rounds(settings: Settings, contexts: Sequence[Context]) -> list[list[Context]]:
    """The contexts of each round, drawn by the run's seed.

    Raises:
        DataError: fewer contexts than the rounds ask for, or contexts without questions.
        UsageError: a reward that needs a judge, and none is named.
    """
    rl = settings.rl
    if rl.rounds and rl.reward.signal == "proxy":
        check_judge(settings.judge)
    without = [context.id for context in contexts if not context.questions] if rl.questions == "gold" else []
    if without:
        fix = "give every training passage its questions, or let the model write them: rl.questions = own"
        raise DataError(f"{len(without)} passages have no questions to score self-edits by", where=without[0], fix=fix)
    needed = rl.contexts * (rl.rounds if rl.fresh else 1)
    if rl.rounds and needed > len(contexts):
        what = f"{rl.rounds} rounds need {needed} passages, there are {len(contexts)}"
        raise DataError(what, where="rl.contexts", fix="give more passages, lower rl.contexts or set rl.fresh = false")
    seed = derive(settings.seed, "contexts")
    plan = split_contexts(contexts, [rl.contexts] * (rl.rounds if rl.fresh else min(rl.rounds, 1)), seed=seed)
    if rl.reward.retention:
        for number, chosen in enumerate(plan, start=1):
            earlier_contexts(settings, number, contexts, chosen)
    return plan if rl.fresh else plan * rl.rounds


def _e_step(
    session: Session,
    number: int,
    contexts: Sequence[Context],
    policy: Adapter | None,
    every: Sequence[Context],
) -> None:
    ledger, rl = session.run.ledger, session.settings.rl
    if ledger.rewards(PHASE, number):
        return
    edits = sample(session, PHASE, number, contexts, rl.candidates, policy)
    asked = contexts
    if rl.reward.retention:
        earlier = earlier_contexts(session.settings, number, every, contexts)
        asked = learn_earlier(session, number, contexts, earlier, policy)
    measure_base(session, PHASE, number, asked)

    def loops(repeat: int) -> list[InnerLoop]:
        return edit_loops(session, PHASE, number, asked, edits, [repeat])

    alive = None
    if rl.racing:
        alive = run_race(session, PHASE, number, loops)
    else:
        measure(session, PHASE, number, [loop for repeat in range(rl.repeats) for loop in loops(repeat)])
    session.stand_on(None)
    ledger.add_rewards(_reward_rows(session, number, contexts, alive))


def _reward_rows(
    session: Session, number: int, contexts: Sequence[Context], alive: Mapping[str, Iterable[int]] | None = None
) -> list[RewardRow]:
    """What every candidate earned; with racing only those ``alive`` at its end can be kept."""
    rl = session.settings.rl
    answers = session.run.ledger.answers(PHASE, number)
    if rl.reward.signal == "accuracy":
        accuracy = accuracies(own_answers(answers, contexts), session.task, graded=True)
    else:
        accuracy = measured(session, PHASE, number, contexts)
    forgotten = lost(answers, contexts)
    rows = []
    for context in contexts:
        baseline = accuracy[context.id, BASE]
        reached = [accuracy[context.id, candidate] for candidate in range(rl.candidates)]
        stayed = range(rl.candidates) if alive is None else alive[context.id]
        worth = [
            value - rl.reward.retention * forgotten.get((context.id, candidate), 0.0)
            for candidate, value in enumerate(reached)
        ]
        for candidate, (reward, kept) in enumerate(raced_rewards(worth, baseline, rl.reward, stayed)):
            rows.append(
                RewardRow(
                    phase=PHASE,
                    round=number,
                    context_id=context.id,
                    candidate=candidate,
                    reward=reward,
                    accuracy=reached[candidate],
                    baseline=baseline,
                    kept=kept,
                )
            )
    return rows


def _m_step(session: Session, number: int, contexts: Sequence[Context]) -> dict[str, Any]:
    """Finetune the policy on the kept self-edits, save it, and only then call the round finished."""
    session.interrupt.check()
    ledger, mstep = session.run.ledger, session.settings.rl.mstep
    rows = ledger.rewards(PHASE, number)
    kept = {(row.context_id, row.candidate) for row in rows if row.kept}
    chosen = [row for row in ledger.self_edits(PHASE, number) if (row.context_id, row.candidate) in kept]
    digest = None
    if chosen:
        adapter = _finetune(session, number, chosen, {context.id: context for context in contexts})
        if mstep.merge:
            merge(session.lm, adapter)
        digest = save_policy(session.lm, adapter, session.run.policy(number), merged=mstep.merge)
    payload = {
        "round": number,
        "contexts": len(contexts),
        "self_edits": len(rows),
        "baseline": _mean([row.baseline for row in rows]),
        "accuracy": _mean([row.accuracy for row in rows]),
        "best": _mean([_best([r.accuracy for r in rows if r.context_id == c.id]) for c in contexts]),
        "kept": len(chosen),
        "policy": digest,
    }
    # Where the E-step's time went is for people and plots; the results hold no times.
    seconds = {t.part: t.seconds for t in ledger.timings() if (t.phase, t.round) == (PHASE, number)}
    session.run.append_metric(payload | {"seconds": seconds}, once=f"round-{number}")
    ledger.finish_step(f"round-{number}", payload)
    return payload | {"_in_place": True}


def _finetune(session: Session, number: int, rows: Sequence[SelfEditRow], contexts: dict[str, Context]) -> Adapter:
    mstep = session.settings.rl.mstep
    sequences = [session.task.completion(contexts[row.context_id], row.text) for row in rows]
    job = AdaptJob(
        sequences,
        LoraSpec(**mstep.lora.model_dump()),
        OptimSpec(**mstep.optim.model_dump()),
        derive(session.settings.seed, "mstep", number),
    )
    total = mstep.optim.epochs * sum(len(s.ids) for s in sequences)
    with session.progress.task(f"finetuning the policy (round {number})", total=total, unit="tokens") as task:
        seen = 0

        def on_step(tokens: int, _: int) -> None:
            nonlocal seen
            task.advance(tokens - seen)
            seen = tokens

        return adapt(session.lm, [job], on_step)[0]


def _load_policy(session: Session, number: int, payload: dict[str, Any], policy: Adapter | None) -> Adapter | None:
    """Make the round's policy the current one, from its folder unless this process has just made it."""
    fresh = payload.pop("_in_place", False)
    if payload["policy"] is None:
        return policy
    folder = session.run.policy(number)
    if not fresh and hash_folder(folder) != payload["policy"]:
        what = "the saved policy is not the one this run made: a file is missing or altered"
        raise RunFolderError(what, where=folder, fix="put the folder back from a copy, or start in a new one")
    if not session.settings.rl.mstep.merge:
        return replace(Adapter.load(folder / "adapter"), base=session.lm.name)
    if not fresh:
        load_weights(session.lm, folder / "model")
    session.engine.load_weights(folder / "model")
    session.weights = payload["policy"]
    return None


def _mean(values: Sequence[float]) -> float | None:
    """The mean of what was measured; None where nothing was."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else None


def _best(values: Sequence[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=math.nan)
