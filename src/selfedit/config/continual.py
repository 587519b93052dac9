"""Settings of `experiment continual`: one passage after the other into one model."""

from __future__ import annotations

from pydantic import Field, field_validator

from selfedit.config.group import Group
from selfedit.config.retention import RetentionSettings, parse_remedies


class ContinualSettings(Group):
    """Sequences of passages, one self-edit each, merged before the next."""

    sequences: int = Field(default=6, ge=1)
    steps: int = Field(default=6, ge=1, description="passages a sequence")
    together: int = Field(default=6, ge=1, description="sequences that train and answer together")
    facts: bool = Field(
        default=True,
        description=(
            "what is never edited is everyday facts that the unedited model knows, found by asking"
            " it; false: the questions of held-out passages"
        ),
    )
    probes: int = Field(
        default=4,
        ge=0,
        description="without facts: held-out passages, never edited, asked after every step",
    )
    compare: tuple[str, ...] = Field(
        default=(),
        description=(
            "ways to compare: none, or remedies joined by +; empty: retention.remedies alone"
        ),
    )
    keep_adapters: bool = Field(
        default=False, description="keep every step's adapter after its sequences have ended"
    )

    @field_validator("compare")
    @classmethod
    def _known(cls, compare: tuple[str, ...]) -> tuple[str, ...]:
        for name in compare:
            RetentionSettings.model_validate({"remedies": parse_remedies(name)})
        if len(set(compare)) < len(compare):
            raise ValueError("a way is named twice")
        return compare
