"""Small tasks made from rules, to prime a model with the form of ARC before it meets ARC.

A rule is drawn with whatever it leaves open (which colour, which side), then shown on random small
grids. Nothing here comes from ARC's own tasks. The rules themselves are in `rule_book.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from selfedit.errors import UsageError
from selfedit.tasks.arc.grids import as_grid, fits
from selfedit.tasks.arc.rule_book import RULES, Rule
from selfedit.tasks.arc.task import ArcTask, Pair

_TRIES = 200
_CHOICE_DRAWS = 400
"""Draws of a rule's open choices: the richest rule has 72, and 400 draws miss one in 270 times."""

RULE_FAMILIES: dict[str, tuple[str, ...]] = {
    "turns": ("mirror", "upside_down", "half_turn", "quarter_turn", "transpose", "anti_transpose"),
    "counting": (
        "sort_columns",
        "commonest_colour",
        "fill_commonest",
        "keep_commonest",
        "count_cells",
    ),
    "logic": ("both_halves", "either_half", "one_half_only"),
    "moving": ("gravity", "gravity_left", "slide"),
    "drawing": ("outline", "border", "frame", "beams"),
    "joining": ("double", "tile_right", "tile_down", "mirror_right", "mirror_down"),
    "cutting": ("top_half", "left_half", "crop", "crop_scattered"),
    "colouring": ("recolour", "swap_colours", "erase_colour", "fill_background", "one_colour"),
}
"""Rules that are alike: a model primed on some of them knows nothing of the other families."""


def rule_names() -> tuple[str, ...]:
    """The names of all rules."""
    return tuple(RULES)


def rules_of(families: Sequence[str]) -> tuple[str, ...]:
    """The names of these families' rules.

    Raises:
        UsageError: there is no such family.
    """
    if unknown := [name for name in families if name not in RULE_FAMILIES]:
        fix = f"choose among {', '.join(RULE_FAMILIES)}"
        raise UsageError(f"no family of rules {unknown[0]!r}", where="arc.prime.families", fix=fix)
    return tuple(name for family in families for name in RULE_FAMILIES[family])


def explaining_rule(task: ArcTask, names: Iterable[str]) -> str | None:
    """The first of these rules that makes each output of a task from its input, or None."""
    pairs = [*task.train, *task.test]
    for name in names:
        # One choice of colours that explains all pairs, not one for each pair.
        if any(all(_makes(rule, pair) for pair in pairs) for rule in _in_every_choice(name)):
            return name
    return None


def _makes(rule: Rule, pair: Pair) -> bool:
    try:
        return np.array_equal(rule.change(pair.input), pair.output)
    except (ValueError, IndexError):  # the rule is of grids of another form
        return False


@lru_cache(maxsize=len(RULES))
def _in_every_choice(name: str) -> tuple[Rule, ...]:
    """A rule with its open choices made in every way that many draws find."""
    # Its own seed, from the name alone: what is found for a rule does not depend on the others.
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    rules = [RULES[name](rng) for _ in range(_CHOICE_DRAWS)]
    # A rule without open choices is the same object each time.
    return tuple(rules[:1] if rules[0] is rules[1] else rules)


def rule_task(name: str, seed: int, *, demonstrations: int = 3, side: int = 6) -> ArcTask:
    """A task made from one rule, the same for the same arguments.

    Its pairs are distinct, and each output differs from its input. Outputs may be up to twice as
    long as inputs.

    Args:
        name: a rule's name; see :func:`rule_names`.
        seed: the source of the rule's open choices and of the grids.
        demonstrations: how many to show; there is always one test pair.
        side: the longest side of an input, 4 to 10.

    Raises:
        UsageError: there is no such rule, or a number is out of its bounds.
    """
    if name not in RULES:
        raise UsageError(f"no rule {name!r}", fix=f"known rules: {', '.join(RULES)}")
    if not 4 <= side <= 10 or not 1 <= demonstrations <= 10:
        raise UsageError(
            f"side {side}, demonstrations {demonstrations}",
            fix="give a side of 4–10 and 1–10 of them",
        )
    # crc32, since Python's own hash of a string changes with each process.
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    pairs = _showing_pairs(RULES[name](rng), rng, demonstrations + 1, side)
    return ArcTask(
        f"rule-{name}-{seed}", tuple(pairs[:-1]), (pairs[-1].input,), (pairs[-1].output,)
    )


def rule_tasks(seed: int, names: Sequence[str] = (), *, side: int = 6) -> Iterator[ArcTask]:
    """Tasks without end: all rules (or those named) in a random order, again and again, each time
    drawn anew.

    Each task shows two to four demonstrations.
    """
    rng = np.random.default_rng([seed, 0])
    chosen = tuple(names) or rule_names()
    while True:
        for index in rng.permutation(len(chosen)):
            yield rule_task(
                chosen[index],
                int(rng.integers(2**31)),
                demonstrations=int(rng.integers(2, 5)),
                side=side,
            )


def _showing_pairs(rule: Rule, rng: np.random.Generator, count: int, side: int) -> list[Pair]:
    """Distinct pairs that show the rule; a grid the rule leaves as it is shows nothing."""
    pairs: dict[Pair, None] = {}
    for _ in range(_TRIES * count):
        grid = rule.draw(rng, side)
        output = rule.change(grid)
        # Black alone, too large, or unchanged: it shows nothing.
        if grid.any() and fits(output) and not np.array_equal(grid, output):
            pairs.setdefault(Pair(as_grid(grid), as_grid(output)))
        if len(pairs) == count:
            return list(pairs)
    # Every rule is tested not to come here.
    raise AssertionError(f"a rule shows itself on too few grids: {rule}")
