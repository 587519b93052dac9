"""Settings of own questions: a model that writes its own test."""

from __future__ import annotations

from pydantic import Field

from selfedit.config.group import Group


class OwnQuestionSettings(Group):
    """Questions that the model writes about a passage, and which of them are kept."""

    quizzes: int = Field(
        default=1, ge=1, description="times the model is asked for a quiz about a passage"
    )
    votes: int = Field(
        default=5,
        ge=2,
        description="answers to each question with the passage, and as many without",
    )
    agree: float = Field(
        default=0.6, gt=0, le=1, description="share of answers with the passage that must agree"
    )
    known: float = Field(
        default=0.2, ge=0, lt=1, description="share of answers without it that may say the same"
    )
    temperature: float = Field(
        default=0.7, gt=0, le=5, description="temperature that answers are sampled at"
    )
    most: int = Field(default=8, ge=1, description="questions kept for a passage")
    longest: int = Field(default=8, ge=1, description="words an answer may have")
