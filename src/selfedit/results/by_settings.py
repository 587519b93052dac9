"""Several runs by their settings: those that differ only in their seed are policies of a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from selfedit.errors import UsageError
from selfedit.results.results import Results
from selfedit.run.settings import MAY_CHANGE, changes

OF_A_POLICY = frozenset({"seed", "crossed.policy", "cpt.policy", "continual.policies"})
"""Settings in which the policies of a group differ."""
OF_THE_MACHINE = MAY_CHANGE | {"device"}
"""Settings that say where a run's work is done."""


@dataclass(frozen=True)
class RunGroup:
    """Runs with the same settings.

    Attributes:
        name: in what it differs from the other groups.
        runs: by seed, in order.
        first: the name of the run that was named first.
    """

    name: str
    runs: Mapping[int, Results]
    first: str


def groups_of(runs: Sequence[tuple[str, Results]]) -> list[RunGroup]:
    """The runs by their settings, in the order in which each group was first named.

    Raises:
        UsageError: two runs of one group have the same seed.
    """
    first = runs[0][1].settings
    keys: list[dict[str, object]] = []
    differing: list[str] = []
    for _, results in runs:
        keys.append(_differing(first, results.settings))
        differing += keys[-1]
    # A setting in which any run differs is in every group's name, with the first run's value where
    # a run has the same.
    defaults = _values_at(first, sorted(set(differing)))
    grouped: dict[str, dict[int, Results]] = {}
    paths: dict[str, str] = {}
    for (path, results), of_run in zip(runs, keys, strict=True):
        name = _group_name(defaults | of_run)
        seed = results.seed or 0
        paths.setdefault(name, path)
        if seed in grouped.setdefault(name, {}):
            fix = "name each run once; runs of one seed with other settings are another group"
            raise UsageError(f"two runs have the seed {seed}", where=path, fix=fix)
        grouped[name][seed] = results
    groups: list[RunGroup] = []
    for name, of_group in grouped.items():
        groups.append(RunGroup(name, dict(sorted(of_group.items())), paths[name]))
    return groups


def _differing(first: Mapping[str, object], settings: Mapping[str, object]) -> dict[str, object]:
    differing: dict[str, object] = {}
    # Data have hashes of their own: where the passages differ, pairing them fails by itself.
    for key, _, value in changes(first, settings):
        if key not in OF_A_POLICY | OF_THE_MACHINE and not key.startswith("data."):
            differing[key] = value
    return differing


def _values_at(settings: Mapping[str, object], keys: Sequence[str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for key in keys:
        value: object = dict(settings)
        for part in key.split("."):
            value = cast("Mapping[str, object]", value)[part] if _has(value, part) else None
        values[key] = value
    return values


def _has(value: object, part: str) -> bool:
    return isinstance(value, Mapping) and part in value


def _group_name(values: Mapping[str, object]) -> str:
    """``update rloo, credit line``; a lone group has no name."""
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in values.items())
