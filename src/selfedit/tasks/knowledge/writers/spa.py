"""SPA (Tang et al. 2026, arXiv 2603.22213): seven fixed prompts after ways people learn, asked
again and again.

Its three levels are learning concepts (key concepts, a mind map), thinking critically
(implications, questions that need thought), and using what was learned (case studies, a discussion,
a lesson). Only the kinds are SPA's; the wording here is this project's own.
"""

from __future__ import annotations

from selfedit.tasks.task import Context

KINDS: dict[str, str] = {
    "key concepts": "Name the key concepts of this passage and explain each in full sentences.",
    "mind map": (
        "Draw a mind map of this passage in plain text: its topic, below it the main points, "
        "below each of them what belongs to it."
    ),
    "implications": (
        "Write down what follows from this passage, directly or on reflection, one sentence per"
        " line."
    ),
    "critical questions": (
        "Write questions about this passage that need some thought, "
        "and answer each of them with reasons from the passage."
    ),
    "case study": (
        "Write a short case study: somebody in a real situation needs what this passage says. "
        "Tell the story with the facts."
    ),
    "discussion": (
        "Write a discussion between two people who have read this passage. "
        "They quote its facts and explain them to each other."
    ),
    "lesson": (
        "Explain this passage as a teacher does in class: step by step, with every fact, and a"
        " summary at the end."
    ),
}
"""The seven kinds of prompt and what each asks for."""


def spa_prompts(context: Context, rounds: int = 1) -> list[str]:
    """The seven prompts about a passage, gone through ``rounds`` times; only sampling makes the
    rounds differ.
    """
    passage = f"Passage:\n{context.title}\n{context.text}"
    return [f"{passage}\n\n{wish}" for _ in range(rounds) for wish in KINDS.values()]
