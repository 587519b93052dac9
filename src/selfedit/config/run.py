"""Settings of what a run tells others while it is under way; they change no number of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from selfedit.config.choice import check_name
from selfedit.config.group import Group


class RunSettings(Group):
    """Settings under ``run``."""

    trackers: tuple[Annotated[str, AfterValidator(check_name)], ...] = Field(
        default=(),
        description=(
            "where metrics go as they come, besides metrics.jsonl: trackio, wandb, mlflow,"
            " tensorboard, or your own as package.module:Name"
        ),
    )
    project: str = Field(
        default="selfedit", min_length=1, max_length=100, description="what trackers group runs by"
    )
