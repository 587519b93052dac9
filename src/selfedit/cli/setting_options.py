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
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, get_args

from cyclopts import Group, Parameter
from pydantic.fields import FieldInfo

from selfedit.config import ALSO_CALLED, Settings
from selfedit.config.described import in_words, is_tuple, leaves, with_default

F = TypeVar("F", bound=Callable[..., Any])
_SETTINGS_GROUP = Group("Settings", sort_key=9)


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
        options: list[inspect.Parameter] = []
        for dotted, field in leaves(Settings):
            group = dotted.partition(".")[0]
            if {dotted, group} & set(but) or (parts and group not in parts):
                continue
            field_here = with_default(field, verb_defaults.get(dotted, field.default))
            options.append(_option(dotted, field_here))
            # The other name is taken and not shown: one way to say a thing is enough to read.
            if other := ALSO_CALLED.get(dotted):
                options.append(_option(other, field_here, show=False))
        parameters = signature.replace(parameters=[*fixed, *options])
        verb.__signature__ = parameters  # type: ignore[attr-defined]
        return verb

    return decorate


def overrides_from(options: dict[str, str | None]) -> dict[str, Any]:
    """The options that were given, as dotted overrides for `read_settings`, which checks them."""
    kinds = dict(leaves(Settings))
    kinds |= {other: kinds[name] for name, other in ALSO_CALLED.items()}
    values = {
        name.replace("__", "."): value for name, value in options.items() if value is not None
    }
    return {dotted: _parsed(text, kinds[dotted].annotation) for dotted, text in values.items()}


def _parsed(text: str, annotation: Any) -> Any:
    if text.lower() == "none" and type(None) in get_args(annotation):
        return None
    if is_tuple(annotation):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def option_name(dotted: str) -> str:
    """The option of a setting: dashes, as every option has. cyclopts takes the underscores of
    TOML's names for them too.
    """
    return f"--{dotted.replace('_', '-')}"


def _option(dotted: str, field: FieldInfo, *, show: bool = True) -> inspect.Parameter:
    words = in_words(field)
    kind = Annotated[
        str | None,
        Parameter(
            name=option_name(dotted),
            help=words.line(),
            group=_SETTINGS_GROUP,
            show=show,
            show_default=False,
            metavar=words.kind,
            allow_leading_hyphen=True,
        ),
    ]
    return inspect.Parameter(
        dotted.replace(".", "__"), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind
    )
