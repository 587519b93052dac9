"""What a model recalls of passages that it is not shown: their questions answered, their tokens
predicted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from typing_extensions import TypedDict

from selfedit.documents.changes import Change
from selfedit.grading.grader import Grader
from selfedit.grading.stats import mean_se, paired, share_right
from selfedit.lm.generate import generate
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.perplexity import mean_losses
from selfedit.run.interrupt import Interrupt
from selfedit.run.progress import SILENT, ProgressSink
from selfedit.storage.files import JsonObject
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context, reply_to

GROUP = 8
"""Passages whose questions are answered together, and between which the user can stop."""


class RecallRecord(TypedDict):
    """What is recalled at one time; accuracies and losses by passage, ``known`` the everyday facts
    that are answered.
    """

    answers: list[JsonObject]
    accuracy: dict[str, float]
    loss: dict[str, float]
    general: dict[str, float]
    known: list[str]


@dataclass(frozen=True)
class Answered:
    """One graded answer; ``correct`` is None where the grader came to no verdict."""

    context: str
    question: str
    answer: str
    correct: bool | None


def ask_questions(
    task: KnowledgeTask,
    contexts: Sequence[Context],
    grader: Grader,
    adapter: Adapter | None = None,
    *,
    name: str = "answering",
    progress: ProgressSink = SILENT,
    interrupt: Interrupt | None = None,
) -> list[Answered]:
    """Every question of the contexts, answered and graded; those without questions have none."""
    questioned = [context for context in contexts if context.questions]
    answers: list[Answered] = []
    if not questioned:
        return answers
    with progress.task(
        name, total=sum(len(c.questions) for c in questioned), unit="questions"
    ) as counter:
        for start in range(0, len(questioned), GROUP):
            if interrupt is not None:
                interrupt.check()
            group = _answer_group(task, questioned[start : start + GROUP], grader, adapter)
            counter.advance(len(group))
            answers += group
    return answers


def _answer_group(
    task: KnowledgeTask, contexts: Sequence[Context], grader: Grader, adapter: Adapter | None
) -> list[Answered]:
    pairs = [(context, question) for context in contexts for question in context.questions]
    prompts = [task.question(context, question) for context, question in pairs]
    limit = task.settings.answer.max_new_tokens
    replies = generate(task.lm, prompts, [adapter] * len(prompts), max_new_tokens=limit)
    texts = [reply.text for reply in replies]
    grades = grader.grade_all(
        [reply_to(*pair, text) for pair, text in zip(pairs, texts, strict=True)]
    )
    return [
        Answered(c.id, q.id, text, grade.correct)
        for (c, q), text, grade in zip(pairs, texts, grades, strict=True)
    ]


def recall_accuracies(answers: Iterable[Answered]) -> dict[str, float]:
    """Accuracy of every context: the mean over its questions; without contexts that have no
    verdict.
    """
    grades: dict[str, list[bool | None]] = defaultdict(list)
    for answer in answers:
        grades[answer.context].append(answer.correct)
    shares = {context: share_right(values) for context, values in grades.items()}
    return {context: share for context, share in shares.items() if share is not None}


def passage_losses(
    lm: LanguageModel, contexts: Sequence[Context], adapter: Adapter | None = None
) -> dict[str, float]:
    """Mean loss of every passage's tokens, in nats, the title before it as in training."""
    losses = mean_losses(lm, [f"{context.title}\n{context.text}" for context in contexts], adapter)
    return {context.id: loss for context, loss in zip(contexts, losses, strict=True)}


def compared(before: Mapping[str, float], after: Mapping[str, float]) -> Change:
    """Means before and after and the paired difference; n counts passages measured both times."""
    both = [name for name in before if name in after]
    before, after = {name: before[name] for name in both}, {name: after[name] for name in both}
    return {
        "before": mean_se(before.values()).as_dict(),
        "after": mean_se(after.values()).as_dict(),
        "paired": paired(after, before).as_dict(),
    }
