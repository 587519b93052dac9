"""How a run's methods and parts are called where a person reads them."""

from __future__ import annotations

from collections.abc import Mapping

METHOD_NAMES = {
    "base": "base: the model as it is",
    "context": "context: the passage in the prompt, nothing trained (what retrieval would give)",
    "passage": "passage: trained on the passage only",
    "own": "own: passage + own self-edits, before RL",
    "seal": "seal: passage + own self-edits, after RL (SEAL)",
    "external": "external: passage + self-edits by another writer",
    "no-rl": "no-rl: passage + published self-edits of the untrained 7B model",
    "round-1": "round-1: passage + published self-edits after RL round 1",
    "round-2": "round-2: passage + published self-edits after RL round 2",
    "gpt-4.1": "gpt-4.1: passage + published self-edits by GPT-4.1",
    "entigraph": "entigraph: passage + texts about pairs and triples of its entities",
    "spa": "spa: passage + texts by seven fixed prompts",
    "gold": "gold: passage + the questions' own facts (upper reference, has seen the answers)",
}
"""Every method as a row of the table."""

CANARY = "canary"
"""The row of the best trick for each passage."""
CANARY_ROW = "canary: the best answer that is right whatever is asked"
CANARY_NAMES = {
    CANARY: "canary: the best of the next four for each passage",
    "constant-list": "the list of the passage's gold answers",
    "alternatives": "the gold answer or another of the passage",
    "question": "the question again",
    "recital": "the passage, recited",
    "constant-best": "one gold answer to every question (right to its own)",
}
"""Answers that show nothing learned, as rows of a table."""


def method_name(names: Mapping[str, str], method: str) -> str:
    """A method as a run's own ``names`` call it, else as all do; ``seal-2``, ``own:rewrite`` are
    made of others.
    """
    if named := names.get(method):
        return named
    plain, _, format = method.partition(":")
    seal, _, number = plain.partition("-")
    if seal == "seal" and number.isdigit():
        words = f"{plain}: passage + own self-edits after round {number} of RL (SEAL)"
    else:
        words = METHOD_NAMES.get(plain, plain)
    return f"{words} [{format}]" if format else words


PARTS = {
    "sampling": "writing self-edits",
    "adapting": "training adapters",
    "answering": "answering questions",
    "grading": "grading answers",
    "reading": "reading gold answers",
    "waiting": "waiting",
}
"""Where a run's time goes."""
