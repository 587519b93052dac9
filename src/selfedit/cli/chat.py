"""``selfedit chat``: questions in the terminal, answered as `selfedit serve` answers them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from selfedit.cli.answering import AS_STORED, ModelOptions, open_service
from selfedit.cli.command import say
from selfedit.cli.conversation import Conversation

_LIMIT = Parameter(validator=Number(gte=1, lte=100_000))


def chat(
    path: Path,
    /,
    *,
    max_new_tokens: Annotated[int, _LIMIT] = 256,
    temperature: Annotated[float, Parameter(validator=Number(gte=0, lte=2))] = 0.0,
    options: ModelOptions = AS_STORED,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False,
) -> None:
    """Ask a library, an adapter or a policy in the terminal, line by line.

    The model is loaded once. Each answer names the document it comes from, or says that none knows.
    A question that finds its document is asked by itself, as documents were learned; one that does
    not ("And when?") goes on from what was said before. Lines may be piped in: `printf 'Who built
    it?' | selfedit chat library/`

    Args:
        path: the folder of a library, of an adapter, or of a run.
        max_new_tokens: longest answer, in tokens.
        temperature: temperature of sampling, up to 2; 0 takes the likeliest answer.
        quiet: no bar while a model is fetched, and no greeting.
    """
    from selfedit.lm.memory import keep_memory
    from selfedit.serving.limits import Limits

    keep_memory()
    limits = Limits(max_batch=1, max_adapters=1, max_tokens=max_new_tokens)
    service = open_service(path, limits, options, quiet=quiet)
    conversation = Conversation(service, temperature)
    service.scheduler.start()
    try:
        if not quiet and sys.stdin.isatty():
            say(f"{service.shelf.in_words}; /help says what can be typed")
        for line in _lines():
            if not conversation.take(line):
                return
    finally:
        conversation.give_up()
        service.scheduler.stop()
        service.scheduler.join(1)


def _lines() -> Iterator[str]:
    """What is typed or piped in, line by line."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    import readline  # noqa: F401 - the terminal's line editing

    while True:
        try:
            yield input("> ")
        except EOFError:
            return
