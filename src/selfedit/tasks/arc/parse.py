"""Reading a self-edit strictly: what it asks for, or every reason why it is refused, counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from selfedit.tasks.arc.self_edit import ArcSelfEdit, SelfEditSpec, schema_model, to_self_edit
from selfedit.tasks.arc.tools import TOOLBOX, Toolbox
from selfedit.tasks.update_tools import UpdateTool, chosen_tools


class Reason(StrEnum):
    """Why a self-edit is refused."""

    NOT_JSON = "not JSON"
    CUT_OFF = "cut off"
    NOT_AN_OBJECT = "not an object"
    DUPLICATE_KEY = "duplicate key"
    MISSING_KEY = "missing key"
    EXTRA_KEY = "extra key"
    WRONG_TYPE = "wrong type"
    NOT_FINITE = "not a finite number"
    OUT_OF_BOUNDS = "out of bounds"
    NOT_A_CHOICE = "not among the choices"
    TOO_MANY_STEPS = "over the step budget"


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a self-edit: the reason, the key it is at, and a sentence."""

    reason: Reason
    location: str
    detail: str


@dataclass(frozen=True)
class Rejection:
    """A refused self-edit with everything wrong with it."""

    problems: tuple[Problem, ...]

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The distinct reasons, in the order found."""
        return tuple(dict.fromkeys(problem.reason for problem in self.problems))

    def __str__(self) -> str:
        return "; ".join(
            f"{problem.reason} at {problem.location}: {problem.detail}" for problem in self.problems
        )


@dataclass
class Tally:
    """Counts of accepted and refused self-edits. One that is refused for two reasons counts once
    under each.
    """

    accepted: int = 0
    rejected: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)

    def add(self, result: ArcSelfEdit | Rejection) -> None:
        """Count one result."""
        if isinstance(result, Rejection):
            self.rejected += 1
            self.reasons.update(result.reasons)
        else:
            self.accepted += 1


def parse_self_edit(
    text: str, spec: SelfEditSpec, toolbox: Toolbox = TOOLBOX
) -> ArcSelfEdit | Rejection:
    """Read a self-edit; whatever the text holds, the result is a self-edit or a rejection, never an
    exception.

    The text must be the JSON object alone: no fence, no sentence before or after it.
    """
    try:
        # Strict where JSON is not: keys once, no NaN, no number of a million digits.
        record = json.loads(
            text, object_pairs_hook=_unique_keys, parse_constant=_not_finite, parse_int=_bounded_int
        )
    except _RefusedError as refusal:
        return Rejection((refusal.problem,))
    except json.JSONDecodeError as error:
        # an error at the very end, or inside a string that never ends, is what a cut leaves
        cut = error.pos >= len(text.rstrip()) > 0 or error.msg.startswith("Unterminated string")
        return _refuse(
            Reason.CUT_OFF if cut else Reason.NOT_JSON, f"character {error.pos + 1}", error.msg
        )
    except RecursionError:
        # Brackets within brackets: Python's reader recurses.
        return _refuse(Reason.NOT_JSON, "top", "nested too deeply")
    if not isinstance(record, dict):
        return _refuse(Reason.NOT_AN_OBJECT, "top", f"a {type(record).__name__}")
    try:
        # pydantic says all that is wrong, not the first thing.
        tools = chosen_tools(spec.tools, "arc.spec.tools")
        # A frozen specification is hashable, whatever pyright thinks of pydantic's models.
        model = _model(spec, toolbox.families, tools)  # pyright: ignore[reportArgumentType]
        model.model_validate(record)
    except ValidationError as error:
        return Rejection(
            tuple(
                _problem_of(item) for item in error.errors(include_url=False, include_context=False)
            )
        )
    return to_self_edit(record, toolbox)


def check_budget(edit: ArcSelfEdit, examples: int, spec: SelfEditSpec) -> ArcSelfEdit | Rejection:
    """Refuse a self-edit that needs more optimiser steps on so many examples than the budget
    allows.
    """
    steps = spec.steps(examples, edit.epochs)
    if steps <= spec.max_steps:
        return edit
    return _refuse(
        Reason.TOO_MANY_STEPS,
        "num_train_epochs",
        f"{steps} optimiser steps, at most {spec.max_steps}",
    )


def sample_until_valid(
    draw: Callable[[], str],
    spec: SelfEditSpec,
    tally: Tally,
    *,
    tries: int,
    toolbox: Toolbox = TOOLBOX,
) -> ArcSelfEdit | None:
    """Draw texts until one is a self-edit, at most ``tries`` times; every result is counted in
    ``tally``.
    """
    for _ in range(tries):
        result = parse_self_edit(draw(), spec, toolbox)
        tally.add(result)
        if isinstance(result, ArcSelfEdit):
            return result
    return None


_REASON_OF = {
    "missing": Reason.MISSING_KEY,
    "extra_forbidden": Reason.EXTRA_KEY,
    "finite_number": Reason.NOT_FINITE,
    "greater_than_equal": Reason.OUT_OF_BOUNDS,
    "less_than_equal": Reason.OUT_OF_BOUNDS,
    "literal_error": Reason.NOT_A_CHOICE,
    "value_error": Reason.NOT_A_CHOICE,
}


def _problem_of(item: Any) -> Problem:
    """What pydantic found, in our words; every other kind of error is about a type."""
    location = ".".join(str(part)[:40] for part in item["loc"])
    return Problem(_REASON_OF.get(item["type"], Reason.WRONG_TYPE), location, item["msg"])


class _RefusedError(Exception):
    """Raised inside the JSON reader for what its grammar allows and we do not."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # a lone surrogate cannot be written as UTF-8, which pydantic's core needs; no key of ours has
    # one
    record = {key.encode("utf-8", "replace").decode(): value for key, value in pairs}
    if len(record) < len(pairs):
        raise _RefusedError(Problem(Reason.DUPLICATE_KEY, "an object", "a key is given twice"))
    return record


def _not_finite(text: str) -> NoReturn:
    raise _RefusedError(Problem(Reason.NOT_FINITE, "a number", f"{text} is not a number"))


def _bounded_int(digits: str) -> int:
    """A whole number; one of too many digits for Python becomes one as much out of bounds."""
    return int(digits if len(digits) <= 18 else digits[:18])


def _refuse(reason: Reason, location: str, detail: str) -> Rejection:
    return Rejection((Problem(reason, location, detail),))


@lru_cache(maxsize=16)
def _model(
    spec: SelfEditSpec, families: tuple[str, ...], tools: tuple[UpdateTool, ...]
) -> type[BaseModel]:
    """The pydantic model, built once for each set of values, families and tools."""
    return schema_model(spec, Toolbox({family: {} for family in families}))
