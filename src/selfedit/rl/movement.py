"""Did a round's update move the policy, how far, and if not, why?

On the round's own prompts and on held-out ones the policies before and after the update are held
against each other: by how far their distributions are apart, by how open each still is, and by what
each writes when it takes the likeliest token every time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from selfedit.lm.decoder import Completion
from selfedit.lm.lora import Adapter
from selfedit.lm.reading import hidden_states
from selfedit.lm.stack import on_top
from selfedit.lm.token_logs import Choosing, divergences
from selfedit.rl.expected import Expected, expected_reward
from selfedit.rl.policy_tokens import PolicySequence, before_and_targets, joined, sampled_sequence
from selfedit.rl.session import Session
from selfedit.rl.standstill import why_not_moved, why_nothing
from selfedit.rl.updates.base import ScoredEdits
from selfedit.run.records import Sampled
from selfedit.run.seeds import derive
from selfedit.tasks.task import Context


@dataclass(frozen=True)
class Moved:
    """Two policies on the same prompts; numbers of the one before end in ``_before``.

    Attributes:
        prompts: how many.
        kl: KL(new‖old) of whole self-edits, in nats: the mean over self-edits that the new policy
            sampled of the sum over their tokens of KL(new‖old) of the next token.
        entropy, entropy_before: mean entropy of a choice, in nats, at the same places.
        changed: share of prompts whose likeliest self-edit is another one.
        tokens, tokens_before: mean length of the likeliest self-edits.
        facts, facts_before: mean number of lines and pairs in them; None where the task has none.
    """

    prompts: int
    kl: float
    entropy: float
    entropy_before: float
    changed: float
    tokens: float
    tokens_before: float
    facts: float | None
    facts_before: float | None


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
                parts.append(
                    f"{name}: KL {moved.kl:.3g} nats a self-edit, entropy"
                    f" {moved.entropy_before:.3g} → {moved.entropy:.3g}, {100 * moved.changed:.0f} %"
                    " of the likeliest self-edits changed"
                )
        if self.expected is not None:
            kind = "" if self.expected.exact else ", estimated"
            before, after = self.expected.before, self.expected.after
            parts.append(f"expected reward {before:.3f} → {after:.3f}{kind}")
        return "; ".join(parts)


def measure_movement(
    session: Session[Any],
    scored: ScoredEdits,
    heldout: Sequence[Context],
    adapter: Adapter | None,
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
    steps = len(adapter.losses)
    if not settings.prompts:
        return Movement(steps=steps)
    new = on_top(session.policy, replace(adapter, base=session.lm.name))
    compare = _Comparison(session, scored.number, new)
    learned = compare.on(list(scored.contexts.values())[: settings.prompts])
    held_out = compare.on(heldout[: settings.prompts]) if heldout else None
    return Movement(
        learned,
        held_out,
        expected_reward(session, scored, new, list(scored.contexts)[: settings.prompts]),
        steps,
        why_not_moved(session.settings, learned.kl, steps),
    )


class _Comparison:
    """A session's policy before and after an update."""

    def __init__(self, session: Session[Any], number: int, new: Adapter) -> None:
        self.session, self.number, self.new = session, number, new
        self.temperature = session.settings.edit.temperature or 1.0

    def on(self, contexts: Sequence[Context]) -> Moved:
        session, old, new = self.session, self.session.policy, self.new
        prompts = [session.task.prompt(context) for context in contexts]
        before, after = self._written(prompts, old), self._written(prompts, new)
        at = (session.settings.seed, "movement", self.number)
        seeds = [derive(*at, context.id) for context in contexts]
        sequences = [
            sampled_sequence(session, prompt, Sampled(written.sampled))
            for prompt, written in zip(prompts, self._written(prompts, new, seeds), strict=True)
        ]
        kl, entropy, entropy_before = self._apart(sequences)
        changed = [a.sampled != b.sampled for a, b in zip(before, after, strict=True)]
        return Moved(
            len(contexts),
            kl,
            entropy,
            entropy_before,
            sum(changed) / len(changed),
            fmean([len(written.ids) for written in after]),
            fmean([len(written.ids) for written in before]),
            self._facts(after),
            self._facts(before),
        )

    def _written(
        self,
        prompts: Sequence[tuple[int, ...]],
        adapter: Adapter | None,
        seeds: Sequence[int] | None = None,
    ) -> list[Completion]:
        """What a policy writes: sampled with seeds, else the likeliest."""
        edit = self.session.settings.edit
        return self.session.sampler.generate(
            prompts,
            [adapter] * len(prompts),
            max_new_tokens=edit.max_new_tokens,
            temperature=0.0 if seeds is None else self.temperature,
            top_p=1.0,  # the policy itself, its nucleus uncut
            seeds=seeds,
            rules=[self.session.task.rule() for _ in prompts],
        )

    def _apart(self, sequences: Sequence[PolicySequence]) -> tuple[float, float, float]:
        """KL(new‖old) a self-edit, and the entropy of a choice of the new and the old policy."""
        lm, rows = self.session.lm, [sequence.ids for sequence in sequences]
        new, old = (
            hidden_states(lm, rows, [a] * len(rows)) for a in (self.new, self.session.policy)
        )
        kl, entropy, entropy_before, choices = 0.0, 0.0, 0.0, 0
        for sequence, after, before in zip(sequences, new, old, strict=True):
            places, _ = before_and_targets([sequence], lm.device)
            choosing = Choosing(self.temperature, joined([sequence]))
            forth = divergences(after[places], before[places], lm.head, choosing)
            _, was = divergences(before[places], after[places], lm.head, choosing)
            kl += float(forth[0].sum())
            entropy += float(forth[1].sum())
            entropy_before += float(was.sum())
            choices += len(places)
        return kl / len(sequences), entropy / choices, entropy_before / choices

    def _facts(self, written: Sequence[Completion]) -> float | None:
        parsed = [self.session.task.parse(one.text) for one in written]
        if not all(hasattr(edit, "lines") and hasattr(edit, "pairs") for edit in parsed):
            return None
        return fmean([len(edit.lines) + len(edit.pairs) for edit in parsed])
