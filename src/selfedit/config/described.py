"""Every setting in words: its name, what it is, what it may be, its default. For ``--help``, the
pages and messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_SIGNS = {"Ge": "≥", "Gt": ">", "Le": "≤", "Lt": "<"}
_NUMBER_KINDS = {int: "INT", float: "NUMBER", bool: "BOOL"}


@dataclass(frozen=True)
class Described:
    """One setting in words.

    Attributes:
        words: what it is.
        choices: what it is chosen from; empty where it is no choice.
        bounds: of a number, or of each number of a list; empty without any.
        default: as it is written on the command line.
        kind: INT, NUMBER, BOOL, TEXT, or A,B,... for a list.
    """

    words: str
    choices: tuple[str, ...]
    bounds: tuple[str, ...]
    default: str
    kind: str

    def line(self) -> str:
        """All of it in one line."""
        parts = (self.words, " | ".join(self.choices), " and ".join(self.bounds))
        return "; ".join([part for part in parts if part] + [f"default {self.default}"])


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting that is no group of settings, with its dotted name."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for dotted, leaf in leaves(kind, f"{prefix}{name}."):
                # A group's own default (`optim: OptimSettings = OptimSettings(lr=3e-4)`) is what
                # holds.
                inner = dotted.removeprefix(f"{prefix}{name}.")
                yield dotted, with_default(leaf, getattr(field.default, inner, leaf.default))
        else:
            yield f"{prefix}{name}", field


def with_default(field: FieldInfo, default: Any) -> FieldInfo:
    """The same setting with another default."""
    if field.default == default:
        return field
    changed = FieldInfo(annotation=field.annotation, default=default, description=field.description)
    changed.metadata = field.metadata
    return changed


def in_words(field: FieldInfo) -> Described:
    """A setting in words."""
    bounds = [*_bounds(field.metadata), *_inner_bounds(field.annotation)]
    choices = tuple(_choices(field.annotation))
    default = _as_typed(field.default)
    kind = _metavar(field.annotation)
    return Described(field.description or "", choices, tuple(bounds), default, kind)


def is_tuple(annotation: Any) -> bool:
    """Whether a setting is a list of values."""
    return any(get_origin(kind) is tuple for kind in (annotation, *get_args(annotation)))


def nearest_names(name: str, known: Iterable[str], most: int = 2) -> list[str]:
    """The names that someone who wrote ``name`` may have meant, likeliest first: in its group where
    there is such a group, in which all are named if none is alike; else anywhere.

    A name that stands in another group (``max_new_tokens`` for ``edit.max_new_tokens``) counts too.
    """
    dotted = list(known)
    # Within a group a far name is a likelier slip than a near one elsewhere.
    group, _, last = name.rpartition(".")
    if inside := [each for each in dotted if group and each.rpartition(".")[0] == group]:
        return get_close_matches(name, inside, most, 0.8) or inside
    elsewhere = [each for each in dotted if each.rpartition(".")[2] == last]
    alike = get_close_matches(name, dotted, most, 0.75)
    return alike or get_close_matches(name, elsewhere, most, 0)


def _bounds(marks: Iterable[Any]) -> Iterator[str]:
    for mark in marks:
        kind = type(mark).__name__
        if kind in _SIGNS:
            yield f"{_SIGNS[kind]} {getattr(mark, kind.lower()):g}"


def _inner_bounds(annotation: Any) -> Iterator[str]:
    """Those of a list's values, and of the number in ``number or "auto"``."""
    for inner in get_args(annotation):
        marks = getattr(inner, "__metadata__", ())
        yield from _bounds(part for mark in marks for part in getattr(mark, "metadata", [mark]))
        yield from _inner_bounds(inner)


def _choices(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from map(str, get_args(annotation))
    elif annotation is bool:
        yield from ("true", "false")
    elif get_origin(annotation) is not tuple:
        for inner in get_args(annotation):
            yield from _choices(inner)


def _as_typed(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    # As TOML and the command line write it, not Python.
    if isinstance(value, bool):
        return str(value).lower()
    return {None: "none", "": '""'}.get(value, str(value))


def _metavar(annotation: Any) -> str:
    if is_tuple(annotation):
        return "A,B,..."
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not type(None)]
    return _NUMBER_KINDS.get(kinds[0], "TEXT")
