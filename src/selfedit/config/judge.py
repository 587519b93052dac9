"""Settings of a language model that judges answers."""

from __future__ import annotations

from pydantic import Field

from selfedit.config.endpoint import EndpointSettings
from selfedit.config.group import Group


class JudgeSettings(Group):
    """The judge that ``answer.grader = "judge"`` and ``rl.reward.signal = "proxy"`` ask."""

    endpoint: EndpointSettings = EndpointSettings()
    votes: int = Field(
        default=1, ge=1, le=99, description="verdicts asked for each answer; the majority holds"
    )
    temperature: float | None = Field(
        default=0.0, ge=0, le=2, description="none leaves it to the endpoint"
    )
    max_new_tokens: int = Field(
        default=16, ge=1, description="longest verdict; a model that thinks first needs more"
    )
