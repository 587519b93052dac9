"""A test that the model writes itself: which of its questions about a passage are worth asking
later.

A question is kept if the model, shown the passage, answers it the same way several times
(self-consistency, Wang et al. 2022, arXiv 2203.11171) and, not shown it, does not: then what is
asked stands in the passage, and is not known already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from selfedit.config.own import OwnQuestionSettings
from selfedit.grading.grader import Grader, Reply
from selfedit.grading.text import answer_tokens
from selfedit.lm.chat import chat_prompt
from selfedit.tasks.knowledge.edits import parse_edit
from selfedit.tasks.knowledge.language import edit_language
from selfedit.tasks.knowledge.prompts import edit_prompt, question_prompt
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.knowledge.translations import ENGLISH
from selfedit.tasks.task import Context


@dataclass(frozen=True)
class OwnQuestion:
    """A question the model wrote, and what became of it.

    Attributes:
        question: its text.
        answer: what the answers with the passage agree on; empty if there is nothing usable.
        agree: share of the answers with the passage that say it.
        known: share of the answers without the passage that say it.
        rejected: why it is not kept, or None.
    """

    question: str
    answer: str
    agree: float
    known: float
    rejected: str | None

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def quiz_prompt(task: KnowledgeTask, context: Context) -> tuple[int, ...]:
    """Token ids that ask for a quiz about a passage."""
    edit = task.settings.edit
    language = edit_language(edit, context.text)
    text = edit_prompt(context, "self-qa", task.lm.has_chat, language=language)
    return _chat(task, text, edit.system)


def shown_prompt(task: KnowledgeTask, context: Context, question: str) -> tuple[int, ...]:
    """Token ids that show the passage and ask a question about it."""
    prompt = question_prompt(context.title, question, task.lm.has_chat)
    return _chat(
        task, f"Passage:\n{context.title}\n{context.text}\n\n{prompt}", task.settings.answer.system
    )


def hidden_prompt(task: KnowledgeTask, context: Context, question: str) -> tuple[int, ...]:
    """Token ids that ask it with nothing of the passage but its title."""
    return _chat(
        task,
        question_prompt(context.title, question, task.lm.has_chat),
        task.settings.answer.system,
    )


def _chat(task: KnowledgeTask, text: str, system: str | None) -> tuple[int, ...]:
    return tuple(chat_prompt(task.lm, text, system if task.lm.has_chat else None))


def read_quiz(task: KnowledgeTask, text: str) -> list[tuple[str, str]]:
    """The (question, answer) pairs of a quiz the model wrote; never raises, whatever the text."""
    # A base model's text goes on from the prompt's last words.
    # The cue is the beginning of the first question, and part of the prompt.
    # In whatever language it was asked for, what it is read as is the same.
    cue = "" if task.lm.has_chat else ENGLISH.cues["self-qa"]
    form = task.settings.edit.model_copy(update={"format": "self-qa"})
    return list(parse_edit(cue + text, form).pairs)


def judge(
    question: str,
    written: str,
    informed: Sequence[str],
    uninformed: Sequence[str],
    grader: Grader,
    settings: OwnQuestionSettings,
) -> OwnQuestion:
    """Keep a question or say why not.

    What the answers agree on is the quiz's own answer or one of the short ones given with the
    passage: whichever the grader finds in most of them, the quiz's first and then the shortest.

    Args:
        question: as the model wrote it.
        written: the answer that the quiz gives with it.
        informed: answers with the passage in the prompt.
        uninformed: answers without it.
        grader: says whether an answer says the same as another.
        settings: the bounds.
    """
    candidates = [
        short
        for text in (written, *informed)
        if (short := _short(text, question, settings.longest))
    ]
    # Nothing that could be compared: long answers agree only by chance.
    if not candidates:
        return OwnQuestion(question, "", 0.0, 0.0, "no short answer")

    def share(candidate: str, answers: Sequence[str]) -> float:
        grades = grader.grade_all([Reply(question, (candidate,), answer) for answer in answers])
        # No verdict is no agreement: it has to be shown.
        return sum(grade.correct is True for grade in grades) / len(answers)

    # Each different candidate once: grading asks a judge.
    shares = {candidate: share(candidate, informed) for candidate in dict.fromkeys(candidates)}
    quiz_answer = _short(written, question, settings.longest)
    answer = max(shares, key=lambda each: (shares[each], each == quiz_answer, -len(each)))
    agree, known = shares[answer], share(answer, uninformed)
    rejected = None
    if agree < settings.agree:
        rejected = "answers with the passage differ"
    elif known > settings.known:
        rejected = "known without the passage"
    return OwnQuestion(question, answer, agree, known, rejected)


def _short(text: str, question: str, longest: int) -> str:
    """An answer's first line without its full stop; empty if it is long, or says nothing the
    question does not.
    """
    line = next((row.strip() for row in text.splitlines() if row.strip()), "").rstrip(".").strip()
    words = answer_tokens(line)
    # An answer that says nothing new repeats the question.
    fresh = {word for word in words if any(map(str.isalnum, word))} - set(answer_tokens(question))
    return line if fresh and len(line.split()) <= longest else ""
