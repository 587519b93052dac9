"""How an adapter of documents is asked: in the form it was trained on, whoever asks."""

from __future__ import annotations

from collections.abc import Sequence

from selfedit.lm.chat import conversation_prompt
from selfedit.lm.chat_guard import Message
from selfedit.lm.load import LanguageModel
from selfedit.tasks.knowledge.prompts import question_prompt


def asking_messages(messages: Sequence[Message], topic: str = "", *, chat: bool) -> list[Message]:
    """A chat with its last question in the form that adapters were trained on, all else as it is.

    Where the client says nothing as the system, an empty system message keeps the template's own
    out, as in training.
    """
    *before, last = messages
    question = {"role": "user", "content": question_prompt(topic, last["content"], chat)}
    silent = chat and all(message["role"] != "system" for message in before)
    system: list[Message] = [{"role": "system", "content": ""}] if silent else []
    return [*system, *before, question]


def question_ids(lm: LanguageModel, question: str, topic: str = "") -> list[int]:
    """The token ids that ask an adapter one question, with nothing of a document but its topic."""
    message: Message = {"role": "user", "content": question}
    return conversation_prompt(lm, asking_messages([message], topic, chat=lm.has_chat))
