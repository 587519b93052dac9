"""Settings of `experiment continual`: one passage after the other into one model."""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from selfedit.config.group import Group
from selfedit.config.retention import RetentionSettings, parse_remedies


class ContinualSettings(Group):
    """Sequences of passages, one self-edit each, merged before the next."""

    sequences: int = Field(
        default=6, ge=1, description="sequences of passages, each with its own order"
    )
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
    policies: tuple[str, ...] = Field(
        default=(),
        description=(
            "models after RL, each a row edited without remedies: NAME=FOLDER, FOLDER being"
            " runs/RUN/policy/round-N/model"
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

    @field_validator("policies")
    @classmethod
    def _named(cls, policies: tuple[str, ...]) -> tuple[str, ...]:
        names = [named_policy(policy)[0] for policy in policies]
        if bad := [name for name in names if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name)]:
            raise ValueError(f"{bad[0]!r} is no name: write NAME=FOLDER")
        if len({"none", "unedited", *names}) < len(names) + 2:
            raise ValueError("a policy's name stands there twice, or is that of another row")
        return policies

    @model_validator(mode="after")
    def _other_names(self) -> Self:
        if both := {named_policy(policy)[0] for policy in self.policies} & set(self.compare):
            raise ValueError(f"{both.pop()!r} is a way and a policy: give the policy another name")
        return self


def named_policy(policy: str) -> tuple[str, str]:
    """``"seal=runs/a/policy/round-1/model"`` as its name and its folder."""
    name, _, folder = policy.partition("=")
    return name, folder
