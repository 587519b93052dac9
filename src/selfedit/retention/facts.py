"""Everyday facts that many models know: what an unedited model answers of them can be damaged.

Written for this project. Which of them a model knows is found by asking it, before any edit.
"""

from __future__ import annotations

from pathlib import Path

from selfedit.tasks.task import Context, Question


def everyday_facts() -> list[Context]:
    """The facts by topic, each a question under its topic; nothing is trained on them."""
    topics: dict[str, list[Question]] = {}
    path = Path(__file__).with_name("facts.txt")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        topic, question, answers = (part.strip() for part in line.split("|"))
        accepted = tuple(answer.strip() for answer in answers.split(";"))
        topics.setdefault(topic, []).append(Question(f"fact-{number}", question, accepted))
    return [
        Context(f"facts-{topic.lower()}", topic, topic, tuple(questions))
        for topic, questions in topics.items()
    ]
