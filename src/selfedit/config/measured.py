"""Settings of what is measured before and after."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from selfedit.config.choice import check_name
from selfedit.config.group import Group


class EvalSettings(Group):
    """What is measured on the held-out contexts, before and after."""

    methods: tuple[str, ...] = Field(
        default=("base", "passage", "own", "seal", "gold"),
        description=(
            "rows of the table: base (as it is), passage (trained on the passage), own and seal"
            " (and on a self-edit from before and after RL), gold (and on the answers), context"
            " (passage in the prompt), external (another writer's); ARC: base, own, seal, oracle"
        ),
    )
    samples: int = Field(
        default=1, ge=1, description="self-edits a context, of the methods that write them"
    )
    repeats: int = Field(
        default=1, ge=1, description="inner loops a self-edit, each with its own seed"
    )
    sampler: Annotated[str, AfterValidator(check_name)] = Field(
        default="local",
        description=(
            "what answers under adapters: local (whoever trained them), or vllm (a vLLM server, as"
            " vllm.* says)"
        ),
    )
    by_round: bool = Field(
        default=False, description="measure seal after every round, not after the last one only"
    )
