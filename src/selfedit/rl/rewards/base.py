"""What a reward is: what it needs measured, and what it makes of it.

A reward of one's own is a class with these members, named in the settings as
``package.module:Name``. Most need only
``value_of``: derive from `TrialReward`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from selfedit.config import Settings
from selfedit.config.choice import Choice
from selfedit.run.records import Measure, Place, SelfEditRow, Trial
from selfedit.tasks.task import Context

if TYPE_CHECKING:
    from selfedit.lm.lora import Adapter
    from selfedit.rl.session import AnySession
    from selfedit.rl.trial import CandidateKey

REWARDS = Choice("rl.reward.signal", "selfedit.rl.rewards", "REWARD")
"""A reward's module holds its class as ``REWARD``; it is made with the run's `Settings`."""


@dataclass(frozen=True)
class ScoredRound:
    """A round whose trials have been run.

    Attributes:
        place: where it is in the ledger.
        contexts: the round's, each with its own questions.
        edits: the policy's self-edits of them.
        trials: of the self-edits and, with candidate None, of the unadapted model; empty where
            nothing was needed.
    """

    place: Place
    contexts: Sequence[Context]
    edits: Sequence[SelfEditRow]
    trials: Sequence[Trial]


@dataclass(frozen=True)
class Value:
    """What a candidate is worth: what was measured, in any unit, and what is taken off before the
    choice.
    """

    measured: float
    penalty: float = 0.0

    @property
    def worth(self) -> float:
        """What candidates are chosen by."""
        return self.measured - self.penalty


class Reward(Protocol):
    """What self-edits are rewarded for."""

    @property
    def needs(self) -> Sequence[Measure]:
        """What is measured of every adapted model and of the unadapted one; with nothing, no inner
        loop is run.
        """
        ...

    def check(self, plan: Sequence[Sequence[Context]], every: Sequence[Context]) -> None:
        """Refuse what cannot work, before a setting is frozen in the run's folder.

        Args:
            plan: the contexts of each round.
            every: all contexts that rounds draw on.

        Raises:
            UsageError, DataError: says what is missing.
        """
        ...

    def prepare(
        self,
        session: AnySession,
        number: int,
        contexts: Sequence[Context],
        every: Sequence[Context],
        policy: Adapter | None,
    ) -> Sequence[Context]:
        """The contexts with all that a round's trials are asked, before they are run.

        Args:
            session: the run; what inner loops start from may be set here (`Session.stand_on`).
            number: the round's, from 1.
            contexts: the round's.
            every: all contexts that rounds draw on.
            policy: the policy's adapter, if it is kept apart from the weights.
        """
        ...

    def values(self, session: AnySession, scored: ScoredRound) -> Mapping[CandidateKey, Value]:
        """What every candidate is worth, and the unadapted model (candidate None); NaN where
        nothing can be said.
        """
        ...


class PlainReward:
    """What rewards share that need nothing before a round: they add `Reward.values`."""

    needs: Sequence[Measure] = ("answers",)

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def check(self, plan: Sequence[Sequence[Context]], every: Sequence[Context]) -> None:
        """See `Reward`; nothing is missing."""

    def prepare(
        self,
        session: AnySession,
        number: int,
        contexts: Sequence[Context],
        every: Sequence[Context],
        policy: Adapter | None,
    ) -> Sequence[Context]:
        """See `Reward`; the contexts as they are."""
        return contexts


class TrialReward(PlainReward, ABC):
    """A reward that is the mean over repeats of what each trial is worth on its own."""

    @abstractmethod
    def value_of(self, context: Context, trial: Trial) -> float:
        """What one trial is worth; NaN where nothing can be said."""

    def values(self, session: AnySession, scored: ScoredRound) -> Mapping[CandidateKey, Value]:
        """See `Reward`; trials without a value are left out of their candidate's mean."""
        by_id = {context.id: context for context in scored.contexts}
        values: dict[CandidateKey, list[float]] = {}
        for trial in scored.trials:
            value = self.value_of(by_id[trial.context_id], trial)
            # Also without a value: a candidate that was tried must be in the answer.
            known = values.setdefault((trial.context_id, trial.candidate), [])
            known += [] if math.isnan(value) else [value]
        return {
            key: Value(sum(of_key) / len(of_key) if of_key else math.nan)
            for key, of_key in values.items()
        }


def reward_of(settings: Settings) -> Reward:
    """The reward that the settings name.

    Raises:
        UsageError: there is none of that name.
    """
    reward = settings.rl.reward
    # Retention is a weight on any signal's penalty, and has a file of its own.
    return REWARDS.load("retention" if reward.retention else reward.signal)(settings)
