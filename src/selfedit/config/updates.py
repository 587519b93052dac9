"""Settings of how the policy learns from a round, and of how it is seen whether it moved."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from selfedit.config.group import Group
from selfedit.config.inner import LoraSettings, OptimSettings


class MStepSettings(Group):
    """Supervised finetuning of the policy on the kept self-edits."""

    lora: LoraSettings = LoraSettings(rank=64, alpha=128)
    optim: OptimSettings = OptimSettings(lr=3e-4, epochs=2, batch_size=10)
    merge: bool | Literal["auto"] = Field(
        default="auto",
        description=(
            "merge into the weights, else keep the policy as an adapter; auto merges into weights"
            " of float32, where nothing of a small update is rounded away, unless a vLLM server"
            " writes or answers"
        ),
    )


class GradientSettings(Group):
    """Policy gradients (``rl.update`` = rloo, grpo, exact); their steps are ``rl.mstep``'s."""

    clip: float = Field(
        default=0.2, gt=0, lt=1, description="ε: a token's ratio counts within 1 ± ε (rloo, grpo)"
    )
    kl: float = Field(default=0.04, ge=0, le=10, description="β of the KL brake; 0 is none")
    reference: Literal["sampled", "first"] = Field(
        default="sampled",
        description="what the brake holds to: the policy that sampled, or the one before round 1",
    )


class MovementSettings(Group):
    """After every update: did the policy move?"""

    prompts: int = Field(
        default=8,
        ge=0,
        description=(
            "prompts of the round, and held-out ones, that the policies before and after an update"
            " are held against each other on; 0 does not measure"
        ),
    )
    kl: float = Field(
        default=0.02,
        gt=0,
        description=(
            "KL(new‖old) in nats a self-edit below which the policy did not move: by Pinsker's"
            " inequality at most one self-edit in ten can then be another one"
        ),
    )
    steps: int = Field(
        default=8, ge=1, description="optimiser steps below which these are the likeliest reason"
    )
