"""Settings of the experiments that make the paper's tables, one group an experiment, and of the
external writer.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from selfedit.config.endpoint import EndpointSettings
from selfedit.config.group import Group
from selfedit.config.inner import OptimSettings
from selfedit.config.knowledge import FormatName

CPT_METHODS = ("base", "passage", "own", "seal", "external", "entigraph", "spa")


class ExternalSettings(Group):
    """Who writes the self-edits of the method ``external``: a file, or else the model behind an
    endpoint.
    """

    file: str | None = Field(
        default=None, description="a file of self-edits: .json, .jsonl, either gzipped"
    )
    endpoint: EndpointSettings = EndpointSettings()


class SingleSettings(Group):
    """Experiment ``single-passage``."""

    formats: tuple[FormatName, ...] = Field(
        default=(), description="formats to sweep over; none: edit.format alone"
    )


class CrossedSettings(Group):
    """Experiment ``crossed``: texts and weights from before and after RL."""

    policy: str | None = Field(
        default=None, description="model folder of a round: the model after RL"
    )


class PublishedReplaySettings(Group):
    """Experiment ``replay``: the published self-edits as training text."""

    folder: str = Field(
        default="data/published", description="where the files of published self-edits are"
    )
    no_rl: str = Field(
        default="self_edits_base.json.gz",
        description="self-edits of the untrained writer, a file in folder",
    )
    round_1: str = Field(
        default="self_edits_iter1.json.gz", description="those of the writer after round 1"
    )
    round_2: str = Field(
        default="self_edits_iter2.json.gz", description="those of the writer after round 2"
    )
    gpt4_1: str = Field(default="self_edits_gpt4_1.json.gz", description="those of GPT-4.1")
    passages: int | None = Field(
        default=32, ge=1, description="the first so many passages; absent: all"
    )


class FullSettings(Group):
    """Full finetuning: AdamW over all weights, kept in float32."""

    optim: OptimSettings = OptimSettings(lr=7e-5, epochs=1, batch_size=8)
    warmup: float = Field(
        default=0.03, ge=0, lt=1, description="share of the steps over which the rate rises"
    )
    rows: int = Field(
        default=1, ge=1, description="documents in one forward pass; a batch is added up from them"
    )
    compute: Literal["float32", "bfloat16"] = Field(
        default="float32", description="what products are formed in"
    )
    processes: int = Field(
        default=1, ge=1, description="processes that share the weights (FSDP2), one a GPU"
    )
    checkpoint: int = Field(default=20, ge=1, description="optimiser steps between two checkpoints")


class CptSettings(Group):
    """Experiment ``cpt``: continued pretraining over many passages, one model."""

    methods: tuple[str, ...] = Field(
        default=("base", "passage", "own", "entigraph", "spa"),
        description=f"rows of the table, any of {', '.join(CPT_METHODS)}",
    )
    sources: tuple[str, ...] = Field(
        default=(), description="files of passages with questions; none: heldout"
    )
    passages: int | None = Field(
        default=None, ge=1, description="the first so many of them; absent: all"
    )
    questions: int | None = Field(
        default=None, ge=1, description="so many questions drawn at random; absent: all"
    )
    samples: int = Field(
        default=5, ge=1, description="self-edits a passage, of own, seal and external"
    )
    writer: Literal["own", "endpoint"] = Field(
        default="own",
        description="who writes for entigraph and spa: the model itself, or external.endpoint",
    )
    update: Literal["lora", "full"] = Field(
        default="full", description="what is trained: an adapter or all weights"
    )
    policy: str | None = Field(
        default=None, description="seal: model folder of the policy that writes"
    )
    policy_file: str | None = Field(
        default=None,
        description="seal: a file of the self-edits that the policy wrote, in place of the policy",
    )
    full: FullSettings = FullSettings()
    pairs: int = Field(
        default=6, ge=0, description="entigraph: pairs of entities a passage at the most"
    )
    triples: int = Field(
        default=3, ge=0, description="entigraph: triples of entities a passage at the most"
    )
    spa_rounds: int = Field(
        default=1, ge=1, description="spa: times the seven prompts are gone through"
    )

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [method for method in methods if method not in CPT_METHODS]:
            raise ValueError(
                f"there is no method {unknown[0]!r}: choose among {', '.join(CPT_METHODS)}"
            )
        if len(set(methods)) < len(methods):
            raise ValueError("a method stands there twice")
        return methods
