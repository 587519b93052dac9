"""The expected reward of a policy on a round's contexts, from the self-edits that were tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from operator import mul
from statistics import fmean

from selfedit.lm.lora import Adapter
from selfedit.lm.rules import OneOf
from selfedit.rl.advantages import known_rewards
from selfedit.rl.policy_gradient import with_old_logs
from selfedit.rl.policy_tokens import (
    PolicySequence,
    policy_sequence,
    policy_temperature,
    read_logs,
    without_logs,
)
from selfedit.rl.session import AnySession
from selfedit.rl.updates.base import ScoredEdits

CERTAIN = 1e-3
"""Probability that may be missing from a sum over every self-edit: rounding."""


@dataclass(frozen=True)
class Expected:
    """Expected reward before and after an update, mean over contexts.

    Attributes:
        before, after: in the unit of the reward.
        exact: every self-edit there is was tried. Else they are estimates: after weighs the round's
            self-edits by how much likelier each has become, which leans towards those learned from.
        mass: mean probability, after, of what was tried; None where self-edits cannot be listed.
    """

    before: float
    after: float
    exact: bool
    mass: float | None


@dataclass(frozen=True)
class _Tried:
    """One of a context's different self-edits: log π before and after, and what it earned."""

    before: float
    after: float
    rewards: Sequence[float]


def expected_reward(
    session: AnySession, scored: ScoredEdits, new: Adapter, contexts: Sequence[str]
) -> Expected | None:
    """Under the session's policy and under ``new``, on these contexts; None without rewards.

    Where self-edits can be listed, a context's is Σ π(a) r̂(a) / Σ π(a) over the different ones
    tried. Else before is the mean of the rewards, which the policy sampled, and after the same with
    each weighted by π_new/π_old of its whole text (self-normalised importance sampling).
    """
    # A list of self-edits: their probabilities can be summed.
    listed = isinstance(session.task.rule(), OneOf)
    every = [edits for name in contexts if (edits := _tried_of(session, scored, new, name))]
    if not every:
        return None
    values = _sums if listed else _estimates
    before, after = map(fmean, zip(*map(values, every), strict=True))
    if not listed:
        return Expected(before, after, exact=False, mass=None)
    masses = list(map(_mass, every))
    exact = min(masses) > 1 - CERTAIN
    return Expected(before, after, exact, fmean(masses))


def _sums(edits: Sequence[_Tried]) -> tuple[float, float]:
    """Σ π r̂ / Σ π before and after."""
    means = [fmean(edit.rewards) for edit in edits]
    logs = ([edit.before for edit in edits], [edit.after for edit in edits])
    return _weighted(logs[0], means), _weighted(logs[1], means)


def _estimates(edits: Sequence[_Tried]) -> tuple[float, float]:
    """The mean of all rewards as they were sampled, and weighted by π_new/π_old."""
    rewards, logs = [], []
    for edit in edits:
        rewards += edit.rewards
        logs += [edit.after - edit.before] * len(edit.rewards)
    return fmean(rewards), _weighted(logs, rewards)


def _mass(edits: Sequence[_Tried]) -> float:
    return sum(exp(edit.after) for edit in edits)


def _tried_of(session: AnySession, scored: ScoredEdits, new: Adapter, name: str) -> list[_Tried]:
    known = known_rewards(scored.rewards).get(name, {})
    # The key without log-probabilities: the same text sampled in two batches is one self-edit.
    different: dict[PolicySequence, PolicySequence] = {}
    earned: dict[PolicySequence, list[float]] = {}
    for row in scored.edits:
        if row.context_id == name and row.candidate in known:
            sequence = policy_sequence(session, scored.contexts[name], row)
            same = without_logs(sequence)
            different.setdefault(same, sequence)
            earned.setdefault(same, []).append(known[row.candidate])
    if not different:
        return []
    # From when they were sampled where the sampler told them, else read now: the policy is still
    # the same.
    before = with_old_logs(session, list(different.values()))
    temperature = policy_temperature(session)
    after = read_logs(session.lm, before, new, temperature)
    triples = zip(before, after, earned.values(), strict=True)
    return [_Tried(sum(sequence.old), sum(logs), values) for sequence, logs, values in triples]


def _weighted(logs: Sequence[float], values: Sequence[float]) -> float:
    """The mean of values, each weighted by the exponential of its log."""
    # The largest exponent becomes 0: whole texts have log-probabilities of −300.
    highest = max(logs)
    weights = [exp(log - highest) for log in logs]
    return sum(map(mul, weights, values)) / sum(weights)
