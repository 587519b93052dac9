"""How a run's methods and parts are called where a person reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METHOD_NAMES = {
    "base": "base: the model as it is",
    "passage": "passage: trained on the passage only",
    "own": "own: passage + own self-edits, before RL",
    "seal": "seal: passage + own self-edits, after RL (SEAL)",
    "gold": "gold: passage + the questions' own facts (upper reference, has seen the answers)",
}
"""Every method as a row of the table."""


def method_name(results: Mapping[str, Any], method: str) -> str:
    """A method as a run's results call it, else as all runs do."""
    return results.get("names", {}).get(method) or METHOD_NAMES.get(method, method)


PARTS = {
    "sampling": "writing self-edits",
    "adapting": "training adapters",
    "answering": "answering questions",
    "grading": "grading answers",
    "waiting": "waiting",
}
"""Where a run's time goes."""
