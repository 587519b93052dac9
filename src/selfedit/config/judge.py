"""Settings of a language model that judges answers."""

from __future__ import annotations

from pydantic import Field, field_validator

from selfedit.config.choice import text_or_file
from selfedit.config.endpoint import EndpointSettings
from selfedit.config.group import Group


class JudgeSettings(Group):
    """The judge that ``answer.grader = "judge"`` and ``rl.reward.signal = "proxy"`` ask."""

    endpoint: EndpointSettings = EndpointSettings()
    prompt: str | None = Field(
        default=None,
        description=(
            "what the judge is told to go by, or @FILE that holds it; absent: a rubric like the"
            " paper's. The question, the reference and the answer follow it, and a yes or a no is"
            " asked for"
        ),
    )
    votes: int = Field(
        default=1, ge=1, le=99, description="verdicts asked for each answer; the majority holds"
    )
    temperature: float | None = Field(
        default=0.0, ge=0, le=2, description="none leaves it to the endpoint"
    )
    max_new_tokens: int = Field(
        default=16, ge=1, description="longest verdict; a model that thinks first needs more"
    )

    @field_validator("prompt")
    @classmethod
    def _rubric(cls, prompt: str | None) -> str | None:
        if prompt is None:
            return None
        rubric = text_or_file(prompt)
        if not rubric.strip():
            raise ValueError("it says nothing: leave it out for the rubric that there is")
        return rubric
