"""What one inner loop is: the data, the adapter and the optimiser of one self-edit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from selfedit.errors import UsageError
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.lm.teacher import Teacher

Schedule = Literal["linear", "cosine", "constant"]


@dataclass(frozen=True)
class OptimSpec:
    """Settings of AdamW in one inner loop. The defaults are the published ones (batch 1, linear
    decay to 0, clip 1).

    Attributes:
        lr: learning rate at its highest.
        epochs: passes over the sequences.
        batch_size: sequences an optimiser step.
        schedule: how the rate falls from its highest to 0; "constant" does not fall.
        warmup_steps: steps over which the rate rises linearly from 0.
        weight_decay: AdamW's decoupled decay.
        clip: largest norm of the adapter's gradient; None does not clip.
        betas: AdamW's decay rates of the two moments.
        eps: added to the root of the second moment.
    """

    lr: float = 1e-3
    epochs: int = 10
    batch_size: int = 1
    schedule: Schedule = "linear"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    clip: float | None = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        # nan passes no comparison and would pass a plain `<= 0`.
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise UsageError(
                f"learning rate must be a positive number, not {self.lr}", where="optim.lr"
            )
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"{name} must be at least 1, not {getattr(self, name)}", where=f"optim.{name}"
                )
        for name in ("warmup_steps", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(
                    f"{name} must be 0 or more, not {getattr(self, name)}", where=f"optim.{name}"
                )
        if self.schedule not in get_args(Schedule):
            fix = f"choose among {', '.join(get_args(Schedule))}"
            raise UsageError(
                f"there is no schedule {self.schedule!r}", where="optim.schedule", fix=fix
            )
        if self.clip is not None and not self.clip > 0:
            fix = "leave it out (None) for no clipping"
            raise UsageError(
                f"clip must be a positive number, not {self.clip}", where="optim.clip", fix=fix
            )
        if not (
            self.eps > 0 and len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        ):
            what = (
                f"AdamW needs two betas in [0, 1) and a positive eps, not {self.betas} and"
                f" {self.eps}"
            )
            raise UsageError(what, where="optim.betas")

    def rate(self, step: int, total: int) -> float:
        """Learning rate of step ``step`` (from 0) of ``total``: transformers' schedules of the same
        names.
        """
        # The first step's rate is 0 where there is a warm-up, as in transformers.
        if step < self.warmup_steps:
            return self.lr * step / max(1, self.warmup_steps)
        # After the warm-up only: a "constant" rate rises too.
        if self.schedule == "constant":
            return self.lr
        # At least one step, or a warm-up as long as the training would divide by 0.
        share = (step - self.warmup_steps) / max(1, total - self.warmup_steps)
        if self.schedule == "linear":
            return self.lr * max(0.0, 1 - share)
        # Half a cosine: from 1 down to 0.
        return self.lr * max(0.0, 0.5 * (1 + math.cos(math.pi * share)))


@dataclass(frozen=True)
class TrainSequence:
    """One training sequence.

    Attributes:
        ids: its tokens.
        loss: for each token whether its prediction carries loss; the first token's never does.
        weight: of the next-token loss.
        teacher: what the tokens that carry loss should be predicted like besides; None has no such
            loss.
    """

    ids: tuple[int, ...]
    loss: tuple[bool, ...]
    weight: float = 1.0
    teacher: Teacher | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class AdaptJob:
    """One inner loop: train a new adapter on these sequences.

    Attributes:
        sequences: texts (all tokens carry loss, an end-of-text token is added) or `TrainSequence`
            with their own loss mask.
        lora: the adapter's settings.
        optim: the optimiser's settings.
        seed: data order, initialisation and dropout come from it alone.
        order_seed: the data order's seed, if it is not `seed`: jobs that share it train together
            with less padding.
        alphabet: the only tokens there are to predict: the loss is of choosing among them, and the
            head is computed for no others. None for the whole vocabulary. Jobs trained together
            must have the same.
        start: a frozen adapter that the new one is trained on top of: what was merged before.
        outside: an earlier adapter; the new one reads its inputs only outside the span of what that
            one reads.
    """

    sequences: Sequence[str | TrainSequence]
    lora: LoraSpec = field(default_factory=LoraSpec)
    optim: OptimSpec = field(default_factory=OptimSpec)
    seed: int = 0
    order_seed: int | None = None
    alphabet: tuple[int, ...] | None = None
    start: Adapter | None = field(default=None, compare=False, repr=False)
    outside: Adapter | None = field(default=None, compare=False, repr=False)

    @property
    def ordering(self) -> int:
        """The seed of the data order."""
        return self.seed if self.order_seed is None else self.order_seed

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole job."""
        return self.optim.epochs * math.ceil(len(self.sequences) / self.optim.batch_size)
