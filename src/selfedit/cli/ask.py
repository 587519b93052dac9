"""``selfedit ask``: questions to a model, with or without an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from selfedit.cli.command import say, working_with
from selfedit.cli.output import print_json, write

if TYPE_CHECKING:
    from selfedit.lm.load import LanguageModel
    from selfedit.lm.lora import Adapter


def ask(
    model: str,
    questions: Annotated[list[str], Parameter(consume_multiple=True)],
    /,
    *,
    adapter: Path | None = None,
    title: str = "",
    max_new_tokens: int = 64,
    prompting: Literal["auto", "plain", "chat"] = "auto",
    json: bool = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False,
) -> None:
    """Put questions to a model and print its answers, greedy, nothing of any document in the
    prompt.

    Args:
        model: a short name, a folder, or a hub id.
        questions: one or more.
        adapter: the folder of an adapter, from `selfedit adapt` or peft; or of a library (`selfedit
            adapt --library`), where each question goes to the document whose words it shares, which
            is named, or to the plain model, which is said.
        title: the topic, as the passages were titled in training.
        max_new_tokens: at most this many tokens an answer.
        prompting: how the model is asked: in its chat template, plainly, or (auto) in its template
            where it has one; as it was trained.
        json: print questions and answers as JSON.
        quiet: no bar while a model is fetched.
    """
    with working_with(model, quiet=quiet):
        replies = _replies(model, questions, adapter, title, max_new_tokens, prompting)
    if json:
        print_json(replies)
        return
    for reply in replies:
        if len(questions) > 1:
            write(f"> {reply['question']}")
        write((reply["answer"] or "").strip())
        if "document" in reply:
            source = reply["document"]
            say(f"from {source}" if source else "no document knows this: the model's own answer")


def _replies(
    model: str,
    questions: list[str],
    adapter: Path | None,
    title: str,
    max_new_tokens: int,
    prompting: Literal["auto", "plain", "chat"],
) -> list[dict[str, str | None]]:
    """Questions and answers, and with a library the document that each went to."""
    from selfedit.lm.chat import chat_prompt
    from selfedit.lm.generate import generate
    from selfedit.lm.load import load
    from selfedit.tasks.knowledge.prompts import question_prompt

    lm = load(model, prompting=prompting)
    under, documents = _route(lm, questions, adapter, title)
    texts = [
        question_prompt(title, question, lm.has_chat)
        if title
        else _bare_question(question, lm.has_chat)
        for question in questions
    ]
    prompts = [chat_prompt(lm, text, "" if lm.has_chat else None) for text in texts]
    answers = generate(lm, prompts, under, max_new_tokens=max_new_tokens)
    replies: list[dict[str, str | None]] = [
        {"question": question, "answer": answer.text}
        for question, answer in zip(questions, answers, strict=True)
    ]
    if documents is not None:
        for reply, document in zip(replies, documents, strict=True):
            reply["document"] = document
    return replies


def _route(
    lm: LanguageModel, questions: list[str], folder: Path | None, title: str
) -> tuple[list[Adapter | None], list[str | None] | None]:
    """The adapter of each question, and its document where there is a library."""
    from selfedit.documents.adapt import load_adapter
    from selfedit.documents.library import Library, is_library

    if folder is None or not is_library(folder):
        adapter = None if folder is None else load_adapter(folder, lm)
        return [adapter] * len(questions), None
    library = Library(folder, lm)
    routed = [library.route(question, title) for question in questions]
    adapters = [None if entry is None else library.adapter(entry, lm) for entry in routed]
    return adapters, [None if entry is None else entry.name for entry in routed]


def _bare_question(question: str, chat: bool) -> str:
    """A question without a topic, asked the way `question_prompt` asks one with it."""
    if chat:
        return f"{question}\nAnswer directly and concisely."
    return f"Answer the question directly and concisely.\n\nQuestion: {question}\nAnswer:"
