"""Did a round's update move the policy, how far, and if not, why?

On the round's own prompts and on held-out ones the policies before and after the update are held
against each other: by how far their distributions are apart, by how open each still is, and by what
each writes when it takes the likeliest token every time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from selfedit.lm.lora import Adapter
from selfedit.lm.stack import on_top
from selfedit.rl.comparison import Moved, PolicyPair
from selfedit.rl.expected import Expected, expected_reward
from selfedit.rl.session import AnySession
from selfedit.rl.standstill import why_not_moved, why_nothing
from selfedit.rl.updates.base import ScoredEdits
from selfedit.storage.doing import doing
from selfedit.tasks.task import Context


@dataclass(frozen=True)
class Movement:
    """What an update did to the policy.

    Attributes:
        learned: on the round's prompts; None where nothing was trained or measured.
        heldout: on held-out ones; None without any.
        expected: expected reward on the same contexts of the round before and after.
        steps: optimiser steps of the update.
        reason: the likeliest reason why the policy did not move; None where it did.
    """

    learned: Moved | None = None
    heldout: Moved | None = None
    expected: Expected | None = None
    steps: int = 0
    reason: str | None = None

    @staticmethod
    def read(stored: Mapping[str, Any]) -> Movement:
        """From the ledger's record of a round."""
        # Nested dataclasses come out of JSON as dictionaries.
        parts = {"learned": Moved, "heldout": Moved, "expected": Expected}
        records = {
            name: kind(**stored[name]) for name, kind in parts.items() if stored[name] is not None
        }
        return Movement(**{**stored, **records})

    def sentence(self, number: int) -> str:
        """For a terminal."""
        if self.reason is not None:
            return f"round {number}: the policy did not move: {self.reason}"
        if self.learned is None:
            return f"round {number}: the policy was updated; how far it moved was not measured"
        parts = [f"round {number}: the policy moved"]
        for name, moved in (("own prompts", self.learned), ("held-out prompts", self.heldout)):
            if moved is not None:
                share = f"{100 * moved.changed:.0f} % of the likeliest self-edits changed"
                entropies = f"entropy {moved.entropy_before:.3g} → {moved.entropy:.3g}"
                parts.append(f"{name}: KL {moved.kl:.3g} nats a self-edit, {entropies}, {share}")
        if self.expected is not None:
            kind = "" if self.expected.exact else ", estimated"
            before, after = self.expected.before, self.expected.after
            parts.append(f"expected reward {before:.3f} → {after:.3f}{kind}")
        return "; ".join(parts)


def measure_movement(
    session: AnySession, scored: ScoredEdits, heldout: Sequence[Context], adapter: Adapter | None
) -> Movement:
    """Hold the policy with a round's adapter against the one without it; nothing is stored.

    Args:
        session: the run, its policy still the one before.
        scored: what was learned from.
        heldout: contexts that no round learns from.
        adapter: what the update made; None where it had nothing to learn.
    """
    settings = session.settings.rl.movement
    if adapter is None:
        return Movement(reason=why_nothing(scored))
    # One loss a step: the update's steps as they were taken.
    steps = len(adapter.losses)
    if not settings.prompts:
        return Movement(steps=steps)
    # Not yet kept: the policy it would become is put together for the measurement alone.
    new = on_top(session.policy, replace(adapter, base=session.lm.name))
    compare = PolicyPair(session, scored.number, new)
    # It has no bar of its own, and takes a minute or two where a policy writes slowly.
    with doing(f"seeing whether the policy moved (round {scored.number})"):
        # A few prompts: two greedy texts, one sampled, for both policies, is what each costs.
        learned = compare.on(list(scored.contexts.values())[: settings.prompts])
        held_out = compare.on(heldout[: settings.prompts]) if heldout else None
        expected = expected_reward(session, scored, new, list(scored.contexts)[: settings.prompts])
    reason = why_not_moved(session.settings, learned.kl, steps)
    return Movement(learned, held_out, expected, steps, reason)
