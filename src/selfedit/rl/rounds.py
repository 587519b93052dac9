"""What a round did, in numbers: what the results keep of it, and what a running run shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from selfedit.config.rl import RLSettings
from selfedit.rl.movement import Movement
from selfedit.rl.racing import raced_rewards
from selfedit.rl.rewards.base import ScoredRound, Value
from selfedit.rl.session import AnySession
from selfedit.rl.trial import CandidateKey
from selfedit.run.records import Phase, Place, RewardRow, SelfEditRow
from selfedit.tasks.task import Context


@dataclass(frozen=True)
class CutOff:
    """The self-edits of a round that the token limit cut off.

    Attributes:
        count, kept: how many, and how many of them were learned from.
        accuracy, others: what they earned, and what all others did; None where there are none.
    """

    count: int
    kept: int
    accuracy: float | None
    others: float | None


@dataclass(frozen=True)
class Round:
    """What one round did, as it stands in the results.

    Attributes:
        round: its number, from 1.
        contexts, self_edits: how many.
        baseline: mean accuracy of the model that inner loops start from, unadapted.
        accuracy: mean accuracy over all self-edits.
        best: mean over contexts of the best candidate's accuracy (the candidate was chosen on the
            same answers). These three are None where a judge gave no verdict at all; with another
            reward they are in its unit.
        kept: self-edits that were kept.
        policy: hash of the policy's folder; None if nothing was learned and the policy stayed as it
            was.
        cut_off: what became of the self-edits that the token limit cut off.
        movement: whether the update moved the policy, how far, and if not, why.
    """

    round: int
    contexts: int
    self_edits: int
    baseline: float | None
    accuracy: float | None
    best: float | None
    kept: int
    policy: str | None
    cut_off: CutOff | None = None
    movement: Movement | None = None


def rl_place(number: int) -> Place:
    """Where a round of reinforcement learning is in the ledger."""
    return Place(Phase.RL, round=number)


def reward_rows(
    scored: ScoredRound,
    values: Mapping[CandidateKey, Value],
    rl: RLSettings,
    alive: Mapping[str, Iterable[int]] | None = None,
) -> list[RewardRow]:
    """What every candidate of a round earned; with racing only those ``alive`` at its end can be
    kept, and none that was cut off where these are dropped (its reward is NaN).
    """
    candidates: dict[str, list[int]] = {}
    dropped: set[CandidateKey] = set()
    for edit in scored.edits:
        candidates.setdefault(edit.context_id, []).append(edit.candidate)
        if edit.cut_off and rl.cut_off == "drop":
            dropped.add((edit.context_id, edit.candidate))
    rows = []
    for context in scored.contexts:
        # The same for all of a context's candidates: the model they start from.
        numbers, baseline = candidates[context.id], values[context.id, None].measured
        worth = [
            math.nan if (context.id, number) in dropped else values[context.id, number].worth
            # NaN, not 0: a cut-off self-edit was not tried and found wanting.
            for number in numbers
        ]
        stayed = numbers if alive is None else alive[context.id]
        earned = raced_rewards(worth, baseline, rl.reward, stayed)
        for candidate, (reward, kept) in zip(numbers, earned, strict=True):
            rows.append(
                RewardRow(
                    place=scored.place,
                    context_id=context.id,
                    candidate=candidate,
                    reward=math.nan if (context.id, candidate) in dropped else reward,
                    accuracy=values[context.id, candidate].measured,
                    baseline=baseline,
                    kept=kept,
                )
            )
    return rows


def finish_round(
    session: AnySession,
    number: int,
    contexts: Sequence[Context],
    rewards: Sequence[RewardRow],
    policy: str | None,
    movement: Movement | None = None,
) -> Round:
    """Sum a round up and call it finished; its policy, if it made one, is saved by now."""
    by_context: dict[str, list[float]] = {context.id: [] for context in contexts}
    for row in rewards:
        by_context[row.context_id].append(row.accuracy)
    done = Round(
        round=number,
        contexts=len(by_context),
        self_edits=len(rewards),
        baseline=_known_mean([row.baseline for row in rewards]),
        accuracy=_known_mean([row.accuracy for row in rewards]),
        best=_known_mean([_best(values) for values in by_context.values()]),
        kept=sum(row.kept for row in rewards),
        policy=policy,
        cut_off=_cut_off(session.run.ledger.self_edits(rl_place(number)), rewards),
        movement=movement,
    )
    ledger, payload = session.run.ledger, asdict(done)
    # Where the E-step's time went is for people and plots; the results hold no times.
    seconds = {
        timing.part: timing.seconds
        for timing in ledger.timings()
        if timing.place == rl_place(number)
    }
    # `once`: a round that finishes after a kill must not be in the metrics twice.
    session.run.append_metric(payload | {"seconds": seconds}, once=f"round-{number}")
    ledger.finish_step(f"round-{number}", payload)
    return done


def finished_round(session: AnySession, number: int) -> Round | None:
    """What a round did, if it is finished."""
    payload = session.run.ledger.step(f"round-{number}")
    if payload is None:
        return None
    # Popped, as they are records of their own; runs of earlier versions have neither.
    cut_off, movement = payload.pop("cut_off", None), payload.pop("movement", None)
    return Round(
        **payload,
        cut_off=None if cut_off is None else CutOff(**cut_off),
        movement=None if movement is None else Movement.read(movement),
    )


def _cut_off(edits: Sequence[SelfEditRow], rewards: Sequence[RewardRow]) -> CutOff:
    cut = {(edit.context_id, edit.candidate) for edit in edits if edit.cut_off}
    inside = [row for row in rewards if (row.context_id, row.candidate) in cut]
    outside = [row for row in rewards if (row.context_id, row.candidate) not in cut]
    return CutOff(
        len(inside),
        sum(row.kept for row in inside),
        _known_mean([row.accuracy for row in inside]),
        _known_mean([row.accuracy for row in outside]),
    )


def _known_mean(values: Sequence[float]) -> float | None:
    """The mean of what was measured; None where nothing was."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else None


def _best(values: Sequence[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=math.nan)
