"""The policy is trained: one adapter on top of what the policy is now, by whatever an update
minimises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from selfedit.errors import Unavailable
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
from selfedit.inner.trainer import Objective
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.lm.token_logs import Choosing, token_logs
from selfedit.rl.policy_tokens import PolicySequence, joined
from selfedit.rl.session import AnySession
from selfedit.run.progress import count_up
from selfedit.run.seeds import derive


def train_policy(
    session: AnySession,
    number: int,
    sequences: Sequence[TrainSequence],
    objective: Objective | None = None,
) -> Adapter:
    """Train a round's adapter on the policy as it is, as ``rl.mstep`` says.

    Args:
        session: the run.
        number: the round's, from 1.
        sequences: what is learned from.
        objective: what is minimised; None is the next-token loss.

    Raises:
        Unavailable: memory ran out; the round's self-edits and trials are in the ledger.
    """
    mstep = session.settings.rl.mstep
    lora, optim = LoraSpec(**mstep.lora.model_dump()), OptimSpec(**mstep.optim.model_dump())
    if isinstance(objective, TokenObjective):
        objective.cap = session.lm.cap
    # Of the round alone: a round that begins anew draws the same numbers.
    seed = derive(session.settings.seed, "mstep", number)
    job = AdaptJob(sequences, lora, optim, seed, start=session.policy)
    total = optim.epochs * sum(len(sequence.ids) for sequence in sequences)
    name = f"finetuning the policy (round {number})"
    with session.progress.task(name, total=total, unit="tokens") as task:
        try:
            # One job: its adapter is trained on top of the policy, and becomes part of it.
            return adapt(session.lm, [job], count_up(task), objective=objective)[0]
        except (torch.OutOfMemoryError, MemoryError) as error:
            what = f"memory ran out while the policy learned from {len(sequences)} self-edits"
            fix = (
                "nothing is lost: start the same run with more memory free; a new run may lower"
                " rl.mstep.optim.batch_size or edit.max_new_tokens"
            )
            raise Unavailable(what, where="rl.mstep", fix=fix) from error


@dataclass(frozen=True)
class StepTokens:
    """The tokens of a step that carry loss, self-edit after self-edit.

    Attributes:
        weights: that make a sum the mean over the step's tokens, ``[N]``.
        old, reference, advantages: see `PolicySequence`, ``[N]``; empty where there are none.
        lengths: how many each self-edit has, ``[S]``.
    """

    weights: Tensor
    old: Tensor
    reference: Tensor
    advantages: Tensor
    lengths: Tensor


class TokenObjective(ABC):
    """A loss that is made of the log-probabilities of the policy's tokens.

    Args:
        temperature: of the policy that is trained.

    Attributes:
        cap: what the policy's logits are capped at; None where they are not.
    """

    cap: float | None = None

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    @abstractmethod
    def parts(self, logs: Tensor, tokens: StepTokens) -> Tensor:
        """The loss as a sum of one part a token, ``[N]``, from their log-probabilities, ``[N]``."""

    def __call__(
        self,
        hidden: Tensor,
        head: Tensor,
        targets: Tensor,
        weights: Tensor,
        sequences: Sequence[TrainSequence],
    ) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        # All of them are: an objective of ours trains policy sequences only.
        mine = [sequence for sequence in sequences if isinstance(sequence, PolicySequence)]
        logs = token_logs(hidden, head, targets, Choosing(self.temperature, joined(mine), self.cap))

        def values(name: str) -> Tensor:
            flat = [value for sequence in mine for value in getattr(sequence, name)]
            return torch.tensor(flat, device=logs.device, dtype=logs.dtype)

        lengths = [len(sequence.places) for sequence in mine]
        parts = self.parts(
            logs,
            StepTokens(
                weights.to(logs.dtype),
                values("old"),
                values("reference"),
                values("advantages"),
                torch.tensor(lengths, device=logs.device),
            ),
        )
        return parts.sum(), parts.detach()


class MaskedLikelihood(TokenObjective):
    """The mean over a step's choices of −log π, each weighted by its advantage if it has one."""

    def parts(self, logs: Tensor, tokens: StepTokens) -> Tensor:
        """See `TokenObjective`."""
        weights = tokens.weights
        return -logs * (weights * tokens.advantages if len(tokens.advantages) else weights)
