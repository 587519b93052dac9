"""The nouns every task shares, and what a task must be able to do."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from selfedit.errors import UsageError
from selfedit.grading.grader import Reply

if TYPE_CHECKING:  # the nouns alone load no torch
    from selfedit.inner.job import AdaptJob, TrainSequence
    from selfedit.lm.rules import Decoding, TokenRule
    from selfedit.run.records import Trial

E = TypeVar("E")
C = TypeVar("C", bound="Context")
C_contra = TypeVar("C_contra", bound="Context", contravariant=True)


@dataclass(frozen=True)
class Question:
    """One question of a context, asked later with nothing of the context in the prompt.

    Attributes:
        id: unique in the data set, stable between runs.
        text: the question.
        answers: every acceptable short answer, the first one is the reference.
        topic: the title it is asked under; empty: its context's.
    """

    id: str
    text: str
    answers: tuple[str, ...]
    topic: str = ""


@dataclass(frozen=True)
class Context:
    """What a model adapts to: a titled passage, or a task's demonstrations, and the questions that
    test it.

    Attributes:
        id: unique in the data set, stable between runs.
        title: the topic, put before every training line.
        text: the passage, or the demonstrations.
        questions: may be empty for a plain document.
    """

    id: str
    title: str
    text: str
    questions: tuple[Question, ...] = ()


def reply_to(context: Context, question: Question, text: str) -> Reply:
    """An answer as graders take it: with the gold answers to the context's other questions, and its
    text.
    """
    # A grader that knows the other gold answers sees through a list of all of them.
    others = tuple(
        gold for other in context.questions if other.id != question.id for gold in other.answers
    )
    return Reply(question.text, question.answers, text, others, context.text)


@dataclass(frozen=True)
class Note:
    """What the ledger keeps of a sampled self-edit besides its text.

    Attributes:
        directives: what it asks of its training, as plain data; empty where it asks for nothing.
        rejected: why it cannot be trained on, or None.
    """

    directives: Mapping[str, Any]
    rejected: str | None = None


class Task(Protocol[C_contra, E]):
    """A domain as reinforcement learning sees it.

    It turns contexts (``C``) and self-edits (``E``, once read) into prompts and inner loops, and
    says what answers count for. Everything that callers use is here: a domain of one's own needs
    nothing else.
    """

    @property
    def tries(self) -> int:
        """How often a self-edit is sampled at most until one is not rejected."""
        ...

    @property
    def decoding(self) -> Decoding:
        """How answers are decoded."""
        ...

    def prompt(self, context: C_contra) -> tuple[int, ...]:
        """Token ids that ask the policy for a self-edit."""
        ...

    def rule(self) -> TokenRule | None:
        """A new grammar for one self-edit to be sampled under; None for free sampling."""
        ...

    def parse(self, text: str) -> E:
        """Read a self-edit; never raises, whatever the text."""
        ...

    def note(self, tries: Sequence[E]) -> Note:
        """What to keep of a self-edit; the last of the tries is the one that counts."""
        ...

    def fixed(self, method: str, context: C_contra) -> E:
        """The self-edit of an evaluation method that samples none.

        Raises:
            UsageError: the task has no such method.
        """
        ...

    def inner_loop(
        self, context: C_contra, edit: E, seed: int, order_seed: int | None = None
    ) -> AdaptJob | None:
        """The training a self-edit asks for; None for none: the model then answers as it is."""
        ...

    def question(self, context: C_contra, question: Question) -> tuple[int, ...]:
        """Token ids that ask one question."""
        ...

    def gold(self, context: C_contra, question: Question) -> TrainSequence:
        """A question with its reference answer, the answer's tokens marked as those that carry
        loss.

        Raises:
            UsageError: the task's questions have no answer in words.
        """
        ...

    def marks(self, trial: Trial, *, graded: bool = False) -> list[float]:
        """What one trial's graded answers count for, each in [0, 1]; their mean is the accuracy.

        Args:
            trial: all answers of one context, candidate and repeat.
            graded: a finer measure for the reward, where the task has one and its settings say so.
        """
        ...

    def completion(self, context: C_contra, text: str) -> TrainSequence:
        """The policy's own training example: the prompt and a self-edit it wrote."""
        ...


AnyTask = Task[Any, Any]
"""A task, whatever its contexts and self-edits are."""


def split_contexts(contexts: Sequence[C], sizes: Sequence[int], *, seed: int) -> list[list[C]]:
    """Groups of the given sizes that share no context: ``contexts`` shuffled with ``seed`` and
    dealt out in turn.

    Raises:
        UsageError: a size is negative, or the sizes ask for more contexts than there are.
    """
    if sum(sizes) > len(contexts) or min(sizes, default=0) < 0:
        fix = f"give sizes from 0 up that add up to at most {len(contexts)}"
        raise UsageError(
            f"{len(contexts)} contexts cannot be split like this",
            where=f"sizes {list(sizes)}",
            fix=fix,
        )
    shuffled = list(contexts)
    random.Random(seed).shuffle(shuffled)
    # One shuffle, dealt out: no two groups share a context.
    dealt = iter(shuffled)
    return [list(islice(dealt, size)) for size in sizes]
