"""Settings of the remedies against forgetting."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from selfedit.config.choice import Choice, check_name
from selfedit.config.group import Group

REMEDY_CHOICE = Choice("retention.remedies", "selfedit.retention.remedies", "REMEDY")
"""A remedy's module holds its class as ``REMEDY``; see `selfedit.retention.remedies.base`."""


class ReplaySettings(Group):
    """Earlier self-edits mixed into the new one's training."""

    size: int = Field(default=64, ge=1, description="training sequences the reservoir holds")
    share: float = Field(default=0.5, gt=0, le=8, description="replayed sequences for each new one")


class KLSettings(Group):
    """Divergence from the model before the edit, as a loss beside the others."""

    weight: float = Field(default=1.0, gt=0, description="weight of the KL term; the loss has 1")
    prompts: int = Field(
        default=8,
        ge=0,
        description="replayed sequences that carry this loss alone; 0: new text only",
    )


class PseudorehearsalSettings(Group):
    """The model's own texts from before any edit, held to what it predicted then."""

    texts: int = Field(
        default=96, ge=1, description="texts the unedited model writes; a third are conversations"
    )
    questions: int = Field(
        default=0, ge=0, le=48, description="everyday questions with its answers, beside the texts"
    )
    tokens: int = Field(
        default=48, ge=2, description="length of a text, a question or a reply at most"
    )
    share: float = Field(
        default=1.5, gt=0, le=8, description="texts mixed in for each new training sequence"
    )
    weight: float = Field(
        default=3.0, gt=0, description="weight of KL(unedited model ‖ model) there"
    )


class DistilSettings(Group):
    """The model with the passage in its prompt teaches the model without it."""

    weight: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="weight of the teacher's term; the next-token loss has 1 − weight",
    )


class GateSettings(Group):
    """What an edit may harm: the rise of the mean loss on probes, in nats a token."""

    general: float = Field(
        default=0.02, ge=0, description="most the loss on everyday text may rise, nats a token"
    )
    earlier: float = Field(
        default=0.05, ge=0, description="most that of earlier edits' texts may, likewise"
    )
    probes: int = Field(default=16, ge=1, description="sequences of earlier edits looked at")
    halvings: int = Field(default=3, ge=0, description="halvings tried before an edit is refused")
    bisections: int = Field(
        default=0, ge=0, description="scales tried between the first halving that fits and the last"
    )


class LibrarySettings(Group):
    """Adapters kept apart, and which of them a question goes to."""

    route: Literal["words", "likelihood"] = Field(
        default="words",
        description=(
            "how a question finds its adapter: by the words it shares with the adapter's text, or"
            " by how likely the question is under each adapter"
        ),
    )
    title: bool = Field(
        default=True, description="the router sees the topic line that the model is shown too"
    )
    least: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="words: share of the question's weight an adapter's text must have",
    )
    margin: float = Field(
        default=0.1, ge=0, description="likelihood: gain over the base needed, nats a token"
    )


class RetentionSettings(Group):
    """What is done against forgetting: any of the remedies, together where that makes sense."""

    remedies: tuple[str, ...] = Field(
        default=(), description="any of ours by name, or your own as package.module:Name"
    )
    replay: ReplaySettings = ReplaySettings()
    kl: KLSettings = KLSettings()
    pseudorehearsal: PseudorehearsalSettings = PseudorehearsalSettings()
    distil: DistilSettings = DistilSettings()
    gate: GateSettings = GateSettings()
    library: LibrarySettings = LibrarySettings()

    @field_validator("remedies")
    @classmethod
    def _together(cls, remedies: tuple[str, ...]) -> tuple[str, ...]:
        known = REMEDY_CHOICE.names()
        for name in remedies:
            if ":" not in check_name(name) and name not in known:
                raise ValueError(f"there is no remedy {name!r}: choose among {', '.join(known)}")
        if len(set(remedies)) < len(remedies):
            raise ValueError("a remedy is named twice")
        if "library" in remedies and (alone := sorted({"replay", "orthogonal"} & set(remedies))):
            raise ValueError(
                f"a library keeps adapters apart, {alone[0]} is for merged ones: leave one of"
                " them out"
            )
        return remedies


def parse_remedies(name: str) -> tuple[str, ...]:
    """``"replay+kl"`` as two remedies, ``"none"`` as none."""
    return () if name == "none" else tuple(part.strip() for part in name.split("+"))


def remedies_name(remedies: tuple[str, ...]) -> str:
    """The remedies as one word, as `parse_remedies` reads it."""
    return "+".join(remedies) or "none"
