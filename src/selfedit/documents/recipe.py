"""The settings that documents are learned with where their user sets no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfedit.config import Settings, read_settings

RECIPE: dict[str, Any] = {
    "edit.temperature": 0.3,
    "edit.max_new_tokens": 128,
    "inner.optim.lr": 2e-3,
    "inner.optim.epochs": 4,
    "inner.optim.batch_size": 4,
    "retention.remedies": ("replay", "pseudorehearsal", "gate"),
    "retention.pseudorehearsal.texts": 24,
    "retention.pseudorehearsal.tokens": 40,
    "retention.pseudorehearsal.questions": 24,
    "retention.pseudorehearsal.share": 0.6,
    "retention.gate.general": 0.04,
    "retention.gate.bisections": 4,
}
"""What `selfedit adapt` sets where its user does not: ``docs/adapt.md`` says how it was found."""


def document_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """The recipe with dotted overrides.

    Raises:
        UsageError: an unknown setting or a value out of bounds, each named.
    """
    return read_settings(overrides=RECIPE | dict(overrides or {}))
