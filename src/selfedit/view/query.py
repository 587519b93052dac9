"""What a request asks for, read from its query: bounded numbers and known words only."""

from __future__ import annotations

import math
from typing import get_args

from starlette.datastructures import QueryParams

from selfedit.serving.failures import Failure
from selfedit.view.index import Filters, Sort

_LARGEST = 2**31
_MOST_LETTERS = 500


def filters_of(query: QueryParams) -> Filters:
    """The filters of a list of self-edits.

    Raises:
        Failure: a value is none.
    """
    return Filters(
        place=_number_or_none(query, "place"),
        context=_number_or_none(query, "context"),
        kept=_flag(query, "kept"),
        cut=_flag(query, "cut"),
        least=_real(query, "least"),
        most=_real(query, "most"),
        text=query.get("q", "")[:_MOST_LETTERS],
        sort=_sort(query),
    )


def whole(
    query: QueryParams, name: str, default: int, *, least: int = 0, most: int = _LARGEST
) -> int:
    """A whole number within bounds.

    Raises:
        Failure: it is none.
    """
    text = query.get(name, "")
    if not text:
        return default
    # Digits alone: Python would take spaces, underscores and other scripts' digits too.
    plain = text.removeprefix("-")
    if not (plain.isascii() and plain.isdigit() and len(plain) <= 10):
        raise _invalid(name, "a whole number")
    value = int(text)
    if not least <= value <= most:
        raise _invalid(name, f"{least} to {most}")
    return value


def wholes(query: QueryParams, name: str, most: int) -> list[int]:
    """Some whole numbers with commas between them.

    Raises:
        Failure: one is none, or there are more than may be.
    """
    texts = [text for text in query.get(name, "").split(",") if text]
    if len(texts) > most:
        raise _invalid(name, f"at most {most} numbers")
    return [whole(QueryParams({name: text}), name, 0) for text in texts]


def _number_or_none(query: QueryParams, name: str) -> int | None:
    return whole(query, name, 0) if query.get(name) else None


def _flag(query: QueryParams, name: str) -> bool | None:
    text = query.get(name, "")
    if text not in ("", "0", "1"):
        raise _invalid(name, "0 or 1")
    return None if text == "" else text == "1"


def _real(query: QueryParams, name: str) -> float | None:
    text = query.get(name, "")
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise _invalid(name, "a number")
    return value


def _sort(query: QueryParams) -> Sort:
    text = query.get("sort", "ledger")
    for sort in get_args(Sort):
        if text == sort:
            return sort
    raise _invalid("sort", ", ".join(get_args(Sort)))


def _invalid(name: str, wanted: str) -> Failure:
    return Failure(400, f"{name} has to be {wanted}", param=name, code="invalid_value")
