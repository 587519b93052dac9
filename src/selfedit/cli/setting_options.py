"""Every setting of a run as an option of a verb, made from the pydantic models: name, type, bounds,
default.

cyclopts makes dotted options of a pydantic model by itself (``settings: Annotated[Settings,
Parameter(name="*")]``). It cannot take this module's place, tried with cyclopts 5.4: it would check
the options alone, before the recipe they change is read; ``--heldout none`` would be a file named
"none"; ``--edit.passage false`` and ``a,b`` would not be understood; bounds would not be in
``--help``; and a verb could not leave out a group of settings that it does not use.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from cyclopts import Parameter
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from selfedit.config import ALSO_CALLED, Settings

F = TypeVar("F", bound=Callable[..., Any])
_SIGNS = {"Ge": "≥", "Gt": ">", "Le": "≤", "Lt": "<"}


def with_settings(
    *parts: str, but: tuple[str, ...] = (), defaults: Mapping[str, Any] | None = None
) -> Callable[[F], F]:
    """Give a verb, which takes ``**overrides``, an option for each setting.

    Args:
        parts: the top-level settings to take; none takes all.
        but: settings that the verb sets itself, or groups it has no use for: dotted names, or names
            of groups.
        defaults: what the verb sets where its user does not, for ``--help``.
    """
    verb_defaults = defaults or {}

    def decorate(verb: F) -> F:
        signature = inspect.signature(verb)
        fixed = [
            p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        options = [
            _option(dotted, _with_default(field, verb_defaults.get(dotted, field.default)))
            for dotted, field in leaves(Settings)
            if not {dotted, dotted.partition(".")[0]} & set(but)
            and (not parts or dotted.partition(".")[0] in parts)
        ]
        parameters = signature.replace(parameters=[*fixed, *options])
        verb.__signature__ = parameters  # type: ignore[attr-defined]
        return verb

    return decorate


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting that is no group of settings, with its dotted name."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for dotted, leaf in leaves(kind, f"{prefix}{name}."):
                # A group's own default (`optim: OptimSettings = OptimSettings(lr=3e-4)`) is what
                # holds.
                default = getattr(
                    field.default, dotted.removeprefix(f"{prefix}{name}."), leaf.default
                )
                yield dotted, _with_default(leaf, default)
        else:
            yield f"{prefix}{name}", field


def _with_default(field: FieldInfo, default: Any) -> FieldInfo:
    if field.default == default:
        return field
    changed = FieldInfo(annotation=field.annotation, default=default, description=field.description)
    changed.metadata = field.metadata
    return changed


def overrides_from(options: dict[str, str | None]) -> dict[str, Any]:
    """The options that were given, as dotted overrides for `read_settings`, which checks them."""
    kinds = dict(leaves(Settings))
    values = {
        name.replace("__", "."): value for name, value in options.items() if value is not None
    }
    return {dotted: _parsed(text, kinds[dotted].annotation) for dotted, text in values.items()}


def _parsed(text: str, annotation: Any) -> Any:
    if text.lower() == "none" and type(None) in get_args(annotation):
        return None
    if _is_tuple(annotation):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _option(dotted: str, field: FieldInfo) -> inspect.Parameter:
    kind = Annotated[
        str | None,
        Parameter(
            name=[f"--{name}" for name in (dotted, ALSO_CALLED.get(dotted)) if name],
            help=describe(field),
            group="Settings",
            show_default=False,
            metavar=_metavar(field.annotation),
            allow_leading_hyphen=True,
        ),
    ]
    return inspect.Parameter(
        dotted.replace(".", "__"), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind
    )


def describe(field: FieldInfo) -> str:
    """A setting in words: what it is, its bounds, its default."""
    bounds = [
        (
            f"{_SIGNS[type(mark).__name__]} {next(iter(vars(mark).values())):g}"
            if hasattr(mark, "__dict__")
            else f"{_SIGNS[type(mark).__name__]} {getattr(mark, type(mark).__name__.lower()):g}"
        )
        for mark in field.metadata
        if type(mark).__name__ in _SIGNS
    ]
    choices = _choices_of(field.annotation)
    default = (
        ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
    )
    parts = [
        field.description or "",
        " | ".join(choices),
        " and ".join(bounds),
        f"default {default!s}",
    ]
    return "; ".join(part for part in parts if part)


def _choices_of(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return ["true", "false"] if annotation is bool else []


def _is_tuple(annotation: Any) -> bool:
    return any(get_origin(kind) is tuple for kind in (annotation, *get_args(annotation)))


def _metavar(annotation: Any) -> str:
    if _is_tuple(annotation):
        return "A,B,..."
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not type(None)]
    return {int: "INT", float: "NUMBER", bool: "BOOL"}.get(kinds[0], "TEXT")
