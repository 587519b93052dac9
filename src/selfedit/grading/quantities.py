"""Numbers, years and dates in a normalised text, and whether two texts' numbers agree."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from selfedit.grading.lexicon import MONTHS

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th|s)")
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "dozen": 12.0}
_NAMED = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth"
    " fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)
_ORDINALS = {word: float(value) for value, word in enumerate(_NAMED.split(), start=1)}
_MULTIPLES = {
    "once": 1.0,
    "twice": 2.0,
    "double": 2.0,
    "triple": 3.0,
    "half": 0.5,
    "quarter": 0.25,
    "both": 2.0,
}
_UNIT_WORDS = (
    "% day days week weeks month months year years decade decades century centuries hour hours"
    " minute minutes second seconds mile miles km kilometres kilometers metres meters m ft feet"
    " foot inches acres hectares dollars euros pounds cents degrees c f kg tons tonnes people"
    " points times"
)
_UNITS = frozenset(_UNIT_WORDS.split())


@dataclass(frozen=True)
class Quantities:
    """What a text says in numbers.

    Attributes:
        values: every number, scales applied (``5 million`` -> 5e6), ordinals as numbers.
        years: the values that look like a year, 1000 to 2099.
        months: names of months.
        units: unit words that stand in the text.
        periods: stretches of years the text names, first and last: ``1987``, ``1960s``, ``10th
            century``.
    """

    values: tuple[float, ...]
    years: frozenset[float]
    months: frozenset[str]
    units: frozenset[str]
    periods: tuple[tuple[float, float], ...]


def quantities(tokens: Sequence[str]) -> Quantities:
    """Read the numbers out of normalised tokens."""
    values: list[float] = []
    for at, token in enumerate(tokens):
        value = _number_value(token)
        if value is not None:
            values.append(value * _SCALES.get(tokens[at + 1] if at + 1 < len(tokens) else "", 1.0))
    years = frozenset(value for value in values if 1000 <= value <= 2099 and value == int(value))
    periods = tuple(period for at in range(len(tokens)) if (period := _period(tokens, at)))
    return Quantities(
        tuple(values), years, frozenset(MONTHS) & set(tokens), _UNITS & set(tokens), periods
    )


def _period(tokens: Sequence[str], at: int) -> tuple[float, float] | None:
    value = _number_value(tokens[at])
    if value is None or value != int(value):
        return None
    if "century" in tokens[at + 1 : at + 3] or "centuries" in tokens[at + 1 : at + 3]:
        return (100 * value - 100, 100 * value) if 0 < value <= 21 else None
    if not 1000 <= value <= 2099:
        return None
    if tokens[at].endswith("s"):
        return value, value + (99 if value % 100 == 0 else 9)
    return value, value


def periods_met(gold: Quantities, answer: Quantities) -> float:
    """The share of the gold periods that touch one that was said (``1978`` meets ``1970s``); -1 if
    gold has none.
    """
    if not gold.periods:
        return -1.0
    met = [
        any(first <= end and start <= last for start, end in answer.periods)
        for first, last in gold.periods
    ]
    return sum(met) / len(met)


def _number_value(token: str) -> float | None:
    if token in _ORDINALS or token in _MULTIPLES:
        return _ORDINALS.get(token, _MULTIPLES.get(token))
    if _NUMBER.fullmatch(token):
        return float(token[:18])
    ordinal = _ORDINAL.fullmatch(token)
    return float(ordinal[1][:18]) if ordinal else None


def nearest_gap(gold: Sequence[float], answer: Sequence[float]) -> float:
    """The worst, over the gold numbers, of the relative distance to the nearest number said; at
    most 1.
    """
    if not gold or not answer:
        return 0.0 if not gold else 1.0
    return max(min(min(abs(g - s) / max(abs(g), 1e-9), 1.0) for s in answer) for g in gold)
