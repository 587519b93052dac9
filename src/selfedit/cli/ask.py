"""``selfedit ask``: questions to a model, with or without an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from selfedit.cli.command import working
from selfedit.cli.output import print_json, write

if TYPE_CHECKING:
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
            adapt --library`), where each question goes to the document whose words it shares, or to
            the plain model.
        title: the topic, as the passages were titled in training.
        max_new_tokens: at most this many tokens an answer.
        prompting: how the model is asked: in its chat template, plainly, or (auto) in its template
            where it has one; as it was trained.
        json: print questions and answers as JSON.
        quiet: no bar while a model is fetched.
    """
    with working(quiet=True):
        from selfedit.cli.fetching import have_model

        have_model(model, quiet=quiet)
        from selfedit.documents.adapt import load_adapter
        from selfedit.documents.library import Library, is_library
        from selfedit.lm.chat import chat_prompt
        from selfedit.lm.generate import generate
        from selfedit.lm.load import load
        from selfedit.tasks.knowledge.prompts import question_prompt

        lm = load(model, prompting=prompting)
        under: list[Adapter | None] = [None] * len(questions)
        documents: list[str | None] | None = None
        if adapter is not None and is_library(adapter):
            library = Library(adapter)
            routed = [library.route(question, title) for question in questions]
            documents = [None if entry is None else entry.name for entry in routed]
            under = [None if entry is None else library.adapter(entry, lm) for entry in routed]
        elif adapter is not None:
            under = [load_adapter(adapter, lm)] * len(questions)
        texts = [
            question_prompt(title, q, lm.has_chat) if title else _bare(q, lm.has_chat)
            for q in questions
        ]
        prompts = [chat_prompt(lm, text, "" if lm.has_chat else None) for text in texts]
        answers = generate(lm, prompts, under, max_new_tokens=max_new_tokens)
    if json:
        replies = [
            {"question": q, "answer": a.text} for q, a in zip(questions, answers, strict=True)
        ]
        if documents is not None:
            replies = [
                {**each, "document": name} for each, name in zip(replies, documents, strict=True)
            ]
        print_json(replies)
        return
    for question, answer in zip(questions, answers, strict=True):
        if len(questions) > 1:
            write(f"> {question}")
        write(answer.text.strip())


def _bare(question: str, chat: bool) -> str:
    """A question without a topic, asked the way `question_prompt` asks one with it."""
    if chat:
        return f"{question}\nAnswer directly and concisely."
    return f"Answer the question directly and concisely.\n\nQuestion: {question}\nAnswer:"
