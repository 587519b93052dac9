"""Settings of the inner loop: the adapter, its optimiser, how many train together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from selfedit.config.group import Group

ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The seven linear modules of a Llama-like decoder layer."""


class LoraSettings(Group):
    """An adapter: see `selfedit.LoraSpec`."""

    rank: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="inner size of the two factors of each module's update",
    )
    alpha: float = Field(default=32, gt=0, description="the update is scaled by alpha / rank")
    targets: tuple[str, ...] = Field(
        default=ALL_LINEAR,
        min_length=1,
        description="linear modules of a decoder layer that get an adapter, by name",
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="chance that an input of the adapter is left out"
    )
    layers: tuple[int, ...] | None = Field(
        default=None,
        description=(
            "decoder layers with an adapter, from 0; all if left out; the lower ones are then"
            " computed once"
        ),
    )


class OptimSettings(Group):
    """AdamW: see `selfedit.OptimSpec`."""

    lr: float = Field(default=1e-3, gt=0, le=1, description="the highest learning rate")
    epochs: int = Field(default=8, ge=1, le=1000, description="passes over the training sequences")
    batch_size: int = Field(default=1, ge=1, description="sequences an optimiser step")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="how the rate goes down to 0 after the warmup, if it does"
    )
    warmup_steps: int = Field(
        default=0, ge=0, description="optimiser steps over which the rate rises from 0"
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="AdamW's: each step takes rate × this share off the weights"
    )
    clip: float | None = Field(
        default=1.0,
        gt=0,
        description="norm that longer gradients are scaled down to; none: no clipping",
    )


class InnerSettings(Group):
    """The inner loop: how one self-edit is trained on."""

    lora: LoraSettings = LoraSettings()
    optim: OptimSettings = OptimSettings()
    group: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default="auto",
        description=(
            "inner loops trained together, ≥ 1, or auto: from memory; a kill loses those in hand"
        ),
    )
