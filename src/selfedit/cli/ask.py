"""``selfedit ask``: questions to a model, with or without an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from selfedit.cli.command import say, working_with
from selfedit.cli.output import print_json, write

if TYPE_CHECKING:
    from selfedit.documents.served import Served


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
    """Put questions to a model, with or without an adapter.

    It prints the likeliest answers; nothing of any document is in the prompt.

    Args:
        model: a short name, a folder, or a hub id.
        questions: one or more.
        adapter: the folder of an adapter, from `selfedit adapt` or peft; or of a library (`selfedit
            adapt --library`), where each question goes to the document whose words it shares, which
            is named, or to the plain model, which is said.
        title: the topic, as the passage was titled in training: `selfedit adapt` names the titles
            at its end.
        max_new_tokens: at most this many tokens an answer.
        prompting: how the model is asked: in its chat template, plainly, or (auto) in its template
            where it has one; as it was trained.
        json: print questions and answers as JSON.
        quiet: no bar while a model is fetched.
    """
    from selfedit.documents.served import read_served

    served = None if adapter is None else read_served(adapter, model)
    with working_with(model, quiet=quiet):
        replies = _replies(model, questions, served, title, max_new_tokens, prompting)
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
    served: Served | None,
    title: str,
    max_new_tokens: int,
    prompting: Literal["auto", "plain", "chat"],
) -> list[dict[str, str | None]]:
    """Questions and answers, and with a library the document that each went to."""
    from selfedit.documents.asking import question_ids
    from selfedit.documents.shelf import AUTO, Source
    from selfedit.lm.generate import generate
    from selfedit.lm.load import load

    lm = load(model, prompting=prompting)
    shelf = None if served is None else served.shelf(lm)
    sources = [
        Source("base") if shelf is None else shelf.source(AUTO, [question], title)
        for question in questions
    ]
    prompts = [question_ids(lm, question, title) for question in questions]
    under = [source.adapter for source in sources]
    answers = generate(lm, prompts, under, max_new_tokens=max_new_tokens)
    replies: list[dict[str, str | None]] = [
        {"question": question, "answer": answer.text}
        for question, answer in zip(questions, answers, strict=True)
    ]
    if shelf is not None and shelf.kind == "document":
        for reply, source in zip(replies, sources, strict=True):
            reply["document"] = source.name
    return replies
