"""Settings of the engine: where inner loops run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from selfedit.config.group import Group


class EngineSettings(Group):
    """Where inner loops run, and what they may use there. A run may go on with others."""

    kind: Literal["machine", "ray"] = Field(
        default="machine",
        description=(
            "machine (this one: its process, or as many as workers says) or ray (actors of a Ray"
            " cluster, workers of them; needs the extra ray)"
        ),
    )
    address: str = Field(
        default="auto",
        min_length=1,
        description=(
            "where the Ray cluster is: auto (the one this machine belongs to), local (begin one"
            " here for this run), HOST:PORT, or ray://HOST:PORT from outside of it"
        ),
    )
    gpus: float | None = Field(
        default=None,
        ge=0,
        le=16,
        description=(
            "GPUs a Ray worker asks for; left out, one where the cluster has any, else none"
        ),
    )
    cpus: int = Field(
        default=1, ge=1, le=1024, description="CPU cores a Ray worker asks for, and threads it uses"
    )
    tries: int = Field(
        default=3,
        ge=1,
        le=100,
        description="times a group is given out before a run ends because its workers died on it",
    )
    start_seconds: float = Field(
        default=300, gt=0, description="how long no Ray worker at all may be up before a run ends"
    )
