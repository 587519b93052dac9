"""Several runs by their settings: those that differ only in their seed are policies of one group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfedit.errors import UsageError
from selfedit.results.results import Results
from selfedit.run.settings import changes

OF_A_POLICY = frozenset({"seed", "crossed.policy", "cpt.policy", "continual.policies"})
"""Settings in which the policies of a group differ."""
OF_THE_MACHINE = frozenset({"workers", "inner.group", "device"})
"""Settings that say where a run's work is done."""


@dataclass(frozen=True)
class Group:
    """Runs with the same settings.

    Attributes:
        name: in what it differs from the other groups.
        runs: by seed, in order.
    """

    name: str
    runs: Mapping[int, Results]


def groups_of(runs: Sequence[tuple[str, Results]]) -> list[Group]:
    """The runs by their settings, in the order in which each group was first named.

    Raises:
        UsageError: two runs of one group have the same seed.
    """
    first = runs[0][1].settings
    keys: list[dict[str, Any]] = [_differing(first, results.settings) for _, results in runs]
    differing = sorted({key for of_run in keys for key in of_run})
    defaults = _values(first, differing)
    grouped: dict[str, dict[int, Results]] = {}
    for (path, results), of_run in zip(runs, keys, strict=True):
        name = _name(defaults | of_run)
        seed = results.seed or 0
        if seed in grouped.setdefault(name, {}):
            fix = "name each run once; runs of one seed with other settings are another group"
            raise UsageError(f"two runs have the seed {seed}", where=path, fix=fix)
        grouped[name][seed] = results
    return [Group(name, dict(sorted(of_group.items()))) for name, of_group in grouped.items()]


def _differing(first: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, _, value in changes(first, settings):
        if key not in OF_A_POLICY | OF_THE_MACHINE and not key.startswith("data."):
            found[key] = value
    return found


def _values(settings: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key in keys:
        value: Any = settings
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        values[key] = value
    return values


def _name(values: Mapping[str, Any]) -> str:
    """``update rloo, credit line``; a lone group has no name."""
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in values.items())
