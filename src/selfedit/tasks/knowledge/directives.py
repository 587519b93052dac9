"""What a self-edit may ask of its own training: the header line ``@train lr=0.001 rank=8 …``.

Which names there are and what each may be is in one place, `directive_choices`: the clause of the
prompt, the grammar of the line, and what several self-edits ask for together are made from it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median_low
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selfedit.config import DirectiveSettings
from selfedit.lm.load import LanguageModel
from selfedit.tasks.grammar import NextTokens, TokenGrammar
from selfedit.tasks.knowledge.edits import Directives
from selfedit.tasks.knowledge.text_tools import NONE, TEXT_TOOLS
from selfedit.tasks.update_tools import ALL, chosen_tools

if TYPE_CHECKING:
    from llguidance import LLMatcher

AUGMENT = "augment"


def directive_choices(settings: DirectiveSettings) -> dict[str, tuple[str, ...]]:
    """Each directive and what it may be, in the order of the line; empty where none is allowed.

    Raises:
        UsageError: the settings name a tool that there is not.
    """
    if not settings.allowed:
        return {}
    others = [name for name in settings.tools if name != AUGMENT]
    tools = chosen_tools(others, "edit.directives.tools")
    choices = {
        "lr": _within(settings.lr_choices, settings.lr),
        "epochs": _within(settings.epoch_choices, settings.epochs),
        "loss": ("all", "answers"),
        **{tool.name: tool.choices for tool in tools},
    }
    augments = AUGMENT in settings.tools or ALL in settings.tools
    return choices | ({AUGMENT: (NONE, *TEXT_TOOLS)} if augments else {})


def _within(values: Sequence[float], bounds: tuple[float, float]) -> tuple[str, ...]:
    inside = [value for value in values if bounds[0] <= value <= bounds[1]]
    # Where no choice is within the bounds, the bounds themselves are the choices.
    return tuple(f"{value:g}" for value in inside or bounds)


def directive_clause(settings: DirectiveSettings) -> str:
    """What tells the writer of the line; empty where no directive is allowed."""
    choices = directive_choices(settings)
    if not choices:
        return ""
    form = " ".join(f"{name}=..." for name in choices)
    values = "; ".join(f"{name} is {' or '.join(each)}" for name, each in choices.items())
    return f"Begin with one line that says how you will be trained on it: @train {form} ({values})."


class HeaderGrammar:
    """Self-edits begin with a whole header line; what follows is free.

    Args:
        lm: the model; its tokenizer and width are used.
        settings: what the line may say.

    Raises:
        Unavailable: llguidance is not installed.
    """

    def __init__(self, lm: LanguageModel, settings: DirectiveSettings) -> None:
        parts = [
            f" {name}=({'|'.join(map(re.escape, each))})"
            for name, each in directive_choices(settings).items()
        ]

        # The whole line and its end: what follows is free text.
        self._line = f"@train{''.join(parts)}\n"

        def write(matcher: Any) -> str:
            return matcher.grammar_from_regex(self._line)

        self._grammar = TokenGrammar(
            lm.tokenizer,
            write,
            vocabulary=int(lm.head.shape[0]),
            without="set edit.directives.grammar = false",
            where="edit.directives",
        )

    def row(self) -> HeaderRow:
        """A new row, before its header."""
        return HeaderRow(self, self._grammar.start(), self._grammar.vocabulary)

    @property
    def lark(self) -> str:
        """The line and free text behind it."""
        line = self._line.replace("/", "\\/").replace("\n", "\\n")
        return f"start: /{line}/ REST\nREST: /(?s:.*)/"


class HeaderRow:
    """One self-edit under the grammar of its header."""

    done = False

    def __init__(self, grammar: HeaderGrammar, matcher: LLMatcher, vocabulary: int) -> None:
        self._grammar, self._matcher, self._free = grammar, matcher, False
        self._vocabulary, self._next = vocabulary, NextTokens(vocabulary)

    def allowed(self, mask: NDArray[np.bool_]) -> None:
        """See `selfedit.lm.rules.TokenRule`; behind the header everything is allowed."""
        # Behind the header all true, before it all false.
        mask[:] = self._free
        if not self._free:
            mask[: self._vocabulary] = self._next.of(self._matcher)

    def advance(self, token: int) -> None:
        """See `selfedit.lm.rules.TokenRule`."""
        if not self._free:
            self._matcher.consume_token(token)
            # is_stopped: some grammars stop before they say that they accept.
            self._free = self._matcher.is_accepting() or self._matcher.is_stopped()

    def lark(self, decode: Callable[[Sequence[int]], str]) -> str:
        """See `selfedit.lm.rules.WrittenRule`."""
        return self._grammar.lark

    def again(self) -> HeaderRow:
        """See `selfedit.lm.rules.WrittenRule`."""
        return self._grammar.row()


def combined(asked_for: Sequence[Directives]) -> Directives:
    """What several self-edits ask for together, for one training of all of them: the middle rate
    and number of epochs of those that ask, of everything else what most ask for, the first of
    equals.
    """
    rates = [each.lr for each in asked_for if each.lr is not None]
    epochs = [each.epochs for each in asked_for if each.epochs is not None]
    losses = [each.loss for each in asked_for if each.loss is not None]
    calls: dict[str, list[str]] = {}
    for each in asked_for:
        for name, value in each.tools:
            calls.setdefault(name, []).append(value)
    return replace(
        # median_low: one of those asked for, not a value between two.
        Directives(),
        lr=median_low(rates) if rates else None,
        epochs=median_low(epochs) if epochs else None,
        loss=_most(losses) if losses else None,
        tools=tuple((name, _most(values)) for name, values in calls.items()),
    )


def _most(values: Sequence[Any]) -> Any:
    # Counter keeps the first of equals first.
    return Counter(values).most_common(1)[0][0]


def as_asked(directives: Directives) -> dict[str, Any]:
    """Directives as plain data: only what is asked for."""
    numbers = {"lr": directives.lr, "epochs": directives.epochs, "loss": directives.loss}
    return {k: v for k, v in numbers.items() if v is not None} | dict(directives.tools)
