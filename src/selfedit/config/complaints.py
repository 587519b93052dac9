"""What is wrong with settings, in words."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from selfedit.config.described import leaves, nearest_names
from selfedit.storage.neutral import in_line

_NAMED_AT_ONCE = 20  # the names that were meant are looked for, for each of them


def complaints(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """A line for each wrong setting of a model, with its dotted name."""
    lines = [_complaint(one, model) for one in error.errors()[:_NAMED_AT_ONCE]]
    more = error.error_count() - len(lines)
    return [*lines, f"and {more} more"] if more else lines


def _complaint(error: ErrorDetails, model: type[BaseModel]) -> str:
    """What is wrong with one setting; of a name that does not exist, which one was meant."""
    dotted = in_line(".".join(map(str, error["loc"])), 120)
    if error["type"] != "extra_forbidden":
        return f"{dotted}: {error['msg']}{_wrong_value(error)}"
    known = [name for name, _ in leaves(model)]
    groups = {name.rpartition(".")[0] for name in known} - {""}
    # A group can be meant too: [edits] for [edit].
    likely = ", ".join(nearest_names(dotted, [*known, *sorted(groups)]))
    return f"{dotted}: there is no such setting" + (f"; did you mean {likely}?" if likely else "")


def _wrong_value(error: ErrorDetails) -> str:
    """The wrong value, unless it may be a key or hold a login."""
    name = str(error["loc"][-1]) if error["loc"] else ""
    return "" if name in ("key_env", "url") else f" (it is {error['input']!r:.200})"
