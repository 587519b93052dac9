"""What an update is: from a round's scored self-edits to an adapter of the policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from selfedit.config import Settings
from selfedit.config.choice import Choice
from selfedit.run.records import RewardRow, SelfEditRow
from selfedit.tasks.task import Context

if TYPE_CHECKING:
    from selfedit.lm.lora import Adapter
    from selfedit.rl.session import AnySession

UPDATES = Choice("rl.update", "selfedit.rl.updates", "UPDATE")
"""An update's module holds its class as ``UPDATE``; it is made with the run's `Settings`."""


@dataclass(frozen=True)
class ScoredEdits:
    """What a round gives to learn from.

    Attributes:
        number: the round's, from 1.
        contexts: by id.
        edits: every self-edit of the round, by context and candidate.
        rewards: what each earned, in the same order.
        worths: what each sampled token's line is worth, of the self-edits (by context and
            candidate) whose lines were credited; see `rl.credit`.
    """

    number: int
    contexts: Mapping[str, Context]
    edits: Sequence[SelfEditRow]
    rewards: Sequence[RewardRow]
    worths: Mapping[tuple[str, int], Sequence[float]] = field(
        default_factory=dict[tuple[str, int], Sequence[float]]
    )

    @property
    def kept(self) -> list[SelfEditRow]:
        """The self-edits that the selection rule kept."""
        # By position: rewards are stored in the order of the self-edits.
        return [edit for edit, reward in zip(self.edits, self.rewards, strict=True) if reward.kept]


class Update(Protocol):
    """How the policy learns from a round."""

    def check(self, session: AnySession) -> None:
        """Refuse what cannot work before the first self-edit is sampled.

        Raises:
            UsageError: says what the task or the settings lack.
        """
        ...

    def learns_from(self, scored: ScoredEdits) -> list[SelfEditRow]:
        """The self-edits that the update would use: only their lines are credited."""
        ...

    def update(self, session: AnySession, scored: ScoredEdits) -> Adapter | None:
        """An adapter to be added to the policy as it is; None where there is nothing to learn.

        It is trained on top of the policy (`train_policy` does so): ``session.policy`` is an
        adapter where ``rl.mstep.merge`` is off. A round's update that is stopped begins anew, so
        its random numbers come from `derive` and the round alone.
        """
        ...


class PlainUpdate:
    """An update that works with every task."""

    def check(self, session: AnySession) -> None:
        """See `Update`; nothing is lacking."""

    def learns_from(self, scored: ScoredEdits) -> list[SelfEditRow]:
        """See `Update`; those that were kept."""
        return scored.kept


def update_of(settings: Settings) -> Update:
    """The update that the settings name.

    Raises:
        UsageError: there is none of that name.
    """
    return UPDATES.load(settings.rl.update)(settings)
