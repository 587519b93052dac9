"""Settings of what is learned from documents besides the passage and its self-edits, and of how it
is measured.
"""

from __future__ import annotations

from pydantic import Field

from selfedit.config.group import Group


class DocumentSettings(Group):
    """How documents are learned and what of them is asked for."""

    support: bool = Field(
        default=True,
        description="sentences of a self-edit that the passage does not support are left out",
    )
    facts: int = Field(
        default=8,
        ge=0,
        description=(
            "facts of a passage (numbers, names, days, places) that are trained as a question with"
            " its answer, made by rule; 0: none"
        ),
    )
    sentences: bool = Field(
        default=False, description="each sentence of the passage is a line to train on, too"
    )
    questions: int = Field(
        default=60, ge=1, description="questions asked before and after, spread over the passages"
    )
    known: int = Field(
        default=20,
        ge=0,
        description="everyday facts asked before, those answered asked again after",
    )
