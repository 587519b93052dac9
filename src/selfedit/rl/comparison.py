"""Two policies on the same prompts: how far their distributions are apart, and what each writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from selfedit.lm.decoder import Completion
from selfedit.lm.lora import Adapter
from selfedit.lm.reading import hidden_states
from selfedit.lm.token_logs import Choosing, divergences
from selfedit.rl.policy_tokens import (
    PolicySequence,
    before_and_targets,
    joined,
    policy_temperature,
    sampled_sequence,
)
from selfedit.rl.session import AnySession
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


class PolicyPair:
    """A session's policy before and after an update."""

    def __init__(self, session: AnySession, number: int, new: Adapter) -> None:
        self.session, self.number, self.new = session, number, new
        self.temperature = policy_temperature(session)

    def on(self, contexts: Sequence[Context]) -> Moved:
        """What the two write on these contexts' prompts, and how far apart they are."""
        session, old, new = self.session, self.session.policy, self.new
        # Greedily by both, on the same prompts: what changed is the policy's doing.
        prompts = list(map(session.task.prompt, contexts))
        before, after = self._written(prompts, old), self._written(prompts, new)
        at = (session.settings.seed, "movement", self.number)
        # Sampled from the new policy: KL(new‖old) is a mean under the new one.
        seeds = [derive(*at, context.id) for context in contexts]
        sequences = [
            sampled_sequence(session, prompt, Sampled(written.sampled))
            for prompt, written in zip(prompts, self._written(prompts, new, seeds), strict=True)
        ]
        kl, entropy, entropy_before = self._apart(sequences)
        changed = sum(map(_differ, before, after))
        return Moved(
            len(contexts),
            kl,
            entropy,
            entropy_before,
            changed / len(contexts),
            _length(after),
            _length(before),
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
            # Written under the task's grammar, as the policy is when it is rewarded.
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
            choosing = Choosing(self.temperature, joined([sequence]), lm.cap)
            apart, entropies, old_entropies = divergences(
                after[places], before[places], lm.head, choosing
            )
            kl += float(apart.sum())
            entropy += float(entropies.sum())
            entropy_before += float(old_entropies.sum())
            choices += len(places)
        return kl / len(sequences), entropy / choices, entropy_before / choices

    def _facts(self, written: Sequence[Completion]) -> float | None:
        parsed = [self.session.task.parse(one.text) for one in written]
        if not all(hasattr(edit, "lines") and hasattr(edit, "pairs") for edit in parsed):
            return None
        return fmean([len(edit.lines) + len(edit.pairs) for edit in parsed])


def _differ(one: Completion, other: Completion) -> bool:
    return one.sampled != other.sampled


def _length(written: Sequence[Completion]) -> float:
    """Mean tokens of self-edits, their ends not counted."""
    return fmean(len(one.ids) for one in written)
