"""What is wrong with settings, in words."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from selfedit.config.described import leaves, nearest_names
from selfedit.storage.neutral import in_line

_NAMED_AT_ONCE = 20  # the names that were meant are looked for, for each of them


def complaints(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """A line for each wrong setting of a model, with its dotted name."""
    known = [name for name, _ in leaves(model)]
    wrong: dict[str, list[ErrorDetails]] = {}
    for one in error.errors():
        wrong.setdefault(_setting(one, known), []).append(one)
    named = [*wrong.items()][:_NAMED_AT_ONCE]
    lines = [_complaint(in_line(dotted, 120), errors, known) for dotted, errors in named]
    more = len(wrong) - len(lines)
    return [*lines, f"and {more} more"] if more else lines


def _setting(error: ErrorDetails, known: list[str]) -> str:
    """The setting's dotted name, with a list's index. Where it may be of several types (a number or
    "auto"), pydantic names each of them behind it.
    """
    dotted = ".".join(map(str, error["loc"]))
    named = next((name for name in known if dotted.startswith(f"{name}.")), None)
    if named is None:
        return dotted
    rest = dotted.removeprefix(f"{named}.")
    return f"{named}.{rest}" if rest.isdecimal() else named


def _complaint(dotted: str, errors: list[ErrorDetails], known: list[str]) -> str:
    """What is wrong with one setting; of a name that does not exist, which one was meant."""
    if errors[0]["type"] != "extra_forbidden":
        what = "; or ".join(each["msg"].removeprefix("Value error, ") for each in errors)
        what = what.replace("a valid tuple", "a list")
        return f"{dotted}: {what}{_wrong_value(dotted, errors[0])}"
    groups = {name.rpartition(".")[0] for name in known} - {""}
    # A group can be meant too: [edits] for [edit].
    likely = ", ".join(nearest_names(dotted, [*known, *sorted(groups)]))
    return f"{dotted}: there is no such setting" + (f"; did you mean {likely}?" if likely else "")


def _wrong_value(dotted: str, error: ErrorDetails) -> str:
    """The wrong value, unless it may be a key or hold a login."""
    secret = dotted.rpartition(".")[2] in ("key_env", "url")
    return "" if secret else f" (it is {error['input']!r:.200})"
