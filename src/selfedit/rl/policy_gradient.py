"""What RLOO and GRPO share: signed advantages over sampled tokens, clipped ratios, a KL brake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from selfedit.config import Settings
from selfedit.errors import UsageError
from selfedit.lm.lora import Adapter
from selfedit.lm.stack import stack
from selfedit.rl.advantages import Advantages, known_rewards, signed_advantages
from selfedit.rl.policy import merges
from selfedit.rl.policy_tokens import PolicySequence, policy_sequence, policy_temperature, read_logs
from selfedit.rl.policy_training import StepTokens, TokenObjective, train_policy
from selfedit.rl.session import AnySession
from selfedit.rl.updates.base import PlainUpdate, ScoredEdits
from selfedit.run.records import SelfEditRow


class ClippedGradient(TokenObjective):
    """The clipped surrogate of PPO (Schulman et al. 2017, arXiv 1707.06347) with a brake.

    With ρ = π/π_old, the part of a token is −min(ρ A, clip(ρ, 1 − ε, 1 + ε) A) + β k, where
    k = π_ref/π − log(π_ref/π) − 1 estimates KL(π‖π_ref) without bias and is never negative
    (Schulman, "Approximating KL divergence", 2020). A step's loss is the mean over its self-edits
    of the sum of their tokens' parts, or of the mean.

    Args:
        temperature: of the policy.
        clip: ε.
        kl: β.
        mean: whether a self-edit counts by the mean over its tokens (GRPO), else by their sum.
    """

    def __init__(self, temperature: float, clip: float, kl: float, *, mean: bool) -> None:
        super().__init__(temperature)
        self.clip, self.kl, self.mean = clip, kl, mean

    def parts(self, logs: Tensor, tokens: StepTokens) -> Tensor:
        """See `TokenObjective`."""
        # 1 in the first step, where the policy is still the one that sampled.
        ratio = (logs - tokens.old).exp()
        advantages = tokens.advantages
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        # The minimum is a lower bound: no gain from moving further than the clip.
        gain = torch.minimum(ratio * advantages, clipped * advantages)
        apart = tokens.reference - logs  # log(π_ref/π), [N]
        # exp(x) − x − 1 ≥ 0 with equality at x = 0, where the policies agree.
        brake = apart.exp() - apart - 1
        # Over self-edits, not tokens: a long self-edit counts as one.
        each = (self.kl * brake - gain) / len(tokens.lengths)
        if not self.mean:
            return each
        return each / tokens.lengths.repeat_interleave(tokens.lengths)


def check_sampling(settings: Settings, update: str) -> None:
    """Refuse what gives no signed advantages.

    Raises:
        UsageError: one self-edit a context, or greedy ones.
    """
    if settings.rl.candidates < 2:
        what = f"{update} compares a context's self-edits, and there is one"
        raise UsageError(what, where="rl.candidates", fix="set rl.candidates to 2 or more")
    if settings.edit.temperature == 0:
        what = f"{update} needs self-edits that are sampled, not the likeliest ones"
        raise UsageError(what, where="edit.temperature", fix="set it above 0, 1 as published")


class SignedUpdate(PlainUpdate):
    """An update by signed advantages: what RLOO and GRPO are but for their formulas.

    Args:
        settings: the run's.
        kind: from a context's rewards to advantages.
        mean: see `ClippedGradient`.

    Raises:
        UsageError: settings that give no advantages.
    """

    def __init__(self, settings: Settings, kind: Advantages, *, mean: bool) -> None:
        check_sampling(settings, settings.rl.update)
        self.kind, gradient = kind, settings.rl.gradient
        temperature = settings.edit.temperature
        self.objective = ClippedGradient(temperature, gradient.clip, gradient.kl, mean=mean)

    def learns_from(self, scored: ScoredEdits) -> list[SelfEditRow]:
        """See `Update`; those of contexts in which rewards differ."""
        advantages = signed_advantages(scored.rewards, self.kind)
        # In which rewards differ: elsewhere all advantages are 0, and tokens for nothing.
        return [row for row in scored.edits if (row.context_id, row.candidate) in advantages]

    def unit(self, rewards: Sequence[float]) -> float:
        """What an advantage of 1 is in the unit of a context's rewards."""
        return 1.0

    def update(self, session: AnySession, scored: ScoredEdits) -> Adapter | None:
        """See `Update`."""
        advantages = signed_advantages(scored.rewards, self.kind)
        known = known_rewards(scored.rewards)
        units = {name: self.unit(list(known[name].values())) for name, _ in advantages}
        sequences = advantage_sequences(session, scored, advantages, units)
        if not sequences:
            return None
        return train_policy(session, scored.number, sequences, self.objective)


def advantage_sequences(
    session: AnySession,
    scored: ScoredEdits,
    advantages: Mapping[tuple[str, int], float],
    units: Mapping[str, float],
) -> list[PolicySequence]:
    """The self-edits that have an advantage, each of its tokens with that and with what its line is
    worth beside the others, with how likely it was when it was sampled and how likely the reference
    finds it.
    """
    rows = [row for row in scored.edits if (row.context_id, row.candidate) in advantages]
    plain = [policy_sequence(session, scored.contexts[row.context_id], row) for row in rows]
    weighed = []
    for row, sequence in zip(rows, with_logs(session, plain), strict=True):
        key = (row.context_id, row.candidate)
        worths = scored.worths.get(key, [0.0] * len(sequence.old))
        # A line's worth is in the reward's unit, the advantage may be in standard deviations.
        middle, unit = sum(worths) / len(worths), units[row.context_id]
        # Centred: what a self-edit's lines are worth moves weight among its tokens, not its sum.
        each = [advantages[key] + (worth - middle) / unit for worth in worths]
        weighed.append(replace(sequence, advantages=tuple(each)))
    return weighed


def with_logs(session: AnySession, sequences: list[PolicySequence]) -> list[PolicySequence]:
    """The same with log-probabilities under the policy that sampled, kept from then or else read
    now, and under the reference.
    """
    temperature = policy_temperature(session)
    complete = with_old_logs(session, sequences)
    if session.settings.rl.gradient.reference == "sampled":
        return [replace(sequence, reference=sequence.old) for sequence in complete]
    first = read_logs(session.lm, complete, _first_policy(session), temperature)
    return [replace(s, reference=logs) for s, logs in zip(complete, first, strict=True)]


def with_old_logs(session: AnySession, sequences: list[PolicySequence]) -> list[PolicySequence]:
    """The same, those whose sampler gave no log-probabilities with what the policy that sampled,
    which is still the session's, gives them now.
    """
    temperature = policy_temperature(session)
    # A sampler outside may give no log-probabilities, and texts from files have none.
    lacking = [len(sequence.old) != len(sequence.places) for sequence in sequences]
    without = [s for s, lacks in zip(sequences, lacking, strict=True) if lacks]
    fresh = iter(read_logs(session.lm, without, session.policy, temperature) if without else ())
    return [
        replace(s, old=next(fresh)) if lacks else s
        for s, lacks in zip(sequences, lacking, strict=True)
    ]


def _first_policy(session: AnySession) -> Adapter | None:
    """What turns the model's weights into those before the first round: what rounds merged, taken
    off again.
    """
    # Kept apart from the weights: the model without adapter is the first policy.
    if not merges(session):
        return None
    steps = [step.name for step in session.run.ledger.steps() if step.name.startswith("round-")]
    folders = [session.run.policy(int(name.removeprefix("round-"))) for name in steps]
    # A run that goes on after a kill has the merged weights only: they less the sum of updates.
    merged = [Adapter.load(folder / "adapter") for folder in folders if folder.exists()]
    merged = [replace(adapter, base=session.lm.name) for adapter in merged]
    # Merged updates taken off again: W_now − Σ ΔW is W before the first round.
    return stack(merged, [-1.0] * len(merged))
