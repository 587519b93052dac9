from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from arc_grids import grid, same

from selfedit.config import PrimeSettings
from selfedit.errors import UsageError
from selfedit.tasks.arc.grids import Grid, as_grid
from selfedit.tasks.arc.rule_book import RULES, crop, fall, outline
from selfedit.tasks.arc.rules import (
    RULE_FAMILIES,
    explaining_rule,
    rule_names,
    rule_task,
    rule_tasks,
    rules_of,
)
from selfedit.tasks.arc.task import ArcTask


def rows(cells: Grid) -> list[str]:
    return ["".join(map(str, row)) for row in cells.tolist()]


# independent of the rules' own code: on lists of strings
AS_TEXT = {
    "mirror": lambda r: [row[::-1] for row in r],
    "upside_down": lambda r: r[::-1],
    "half_turn": lambda r: [row[::-1] for row in r[::-1]],
    "quarter_turn": lambda r: ["".join(column) for column in zip(*r[::-1], strict=True)],
    "transpose": lambda r: ["".join(column) for column in zip(*r, strict=True)],
    "double": lambda r: [row for line in r for row in ["".join(cell * 2 for cell in line)] * 2],
    "tile_right": lambda r: [row * 2 for row in r],
    "tile_down": lambda r: r * 2,
    "mirror_right": lambda r: [row + row[::-1] for row in r],
    "mirror_down": lambda r: r + r[::-1],
    "top_half": lambda r: r[: len(r) // 2],
    "left_half": lambda r: [row[: len(row) // 2] for row in r],
    "commonest_colour": lambda r: [Counter("".join(r).replace("0", "")).most_common(1)[0][0]],
}


def all_pairs(task: ArcTask) -> list[tuple[Grid, Grid]]:
    return [(shown.input, shown.output) for shown in (*task.train, *task.test)]


def test_there_are_more_than_twenty() -> None:
    assert len(rule_names()) >= 20


@pytest.mark.parametrize("name", AS_TEXT)
def test_a_rule_does_what_its_name_says(name: str) -> None:
    for seed in range(20):
        for before, after in all_pairs(rule_task(name, seed)):
            assert rows(after) == AS_TEXT[name](rows(before))


@pytest.mark.parametrize("name", RULES)
def test_every_rule_gives_small_tasks_that_show_it(name: str) -> None:
    for seed in range(20):
        for side in (4, 6, 10):
            task = rule_task(name, seed, demonstrations=3, side=side)
            pairs = all_pairs(task)
            assert len(pairs) == 4 and len({shown.key for shown in (*task.train, *task.test)}) == 4
            for before, after in pairs:
                assert same(as_grid(before), before) and same(as_grid(after), after)
                assert max(before.shape) <= side and max(after.shape) <= max(2 * side, 5)
                assert before.any() and not np.array_equal(before, after)


@pytest.mark.parametrize("name", RULES)
def test_the_same_seed_gives_the_same_task(name: str) -> None:
    assert rule_task(name, 5).key == rule_task(name, 5).key
    assert len({rule_task(name, seed).key for seed in range(5)}) == 5


@pytest.mark.parametrize("name", RULES)
def test_one_rule_serves_the_whole_task(name: str) -> None:
    # the change of a rule drawn with the same seed reproduces every pair, so no pair has a choice
    # of its own
    rng = np.random.default_rng(0)
    rule = RULES[name](rng)
    for _ in range(20):
        before = rule.draw(rng, 6)
        assert same(rule.change(before), rule.change(before.copy()))


def test_rules_with_a_choice_choose() -> None:
    frames = {int(rule_task("frame", seed).train[0].output[0, 0]) for seed in range(40)}
    assert len(frames) > 5
    for seed in range(10):
        outputs = [after for _, after in all_pairs(rule_task("frame", seed))]
        assert len({int(after[0, 0]) for after in outputs}) == 1


def test_some_rules_by_hand() -> None:
    assert same(fall(grid("10", "02", "30")), grid("00", "10", "32"))
    assert same(outline(grid("111", "111", "111")), grid("111", "101", "111"))
    assert same(outline(grid("0110", "0110")), grid("0110", "0110"))
    assert same(crop(grid("000", "020", "003")), grid("20", "03"))
    assert same(
        RULES["both_halves"](np.random.default_rng(0)).change(grid("11522", "01502")),
        grid("33", "03"),
    )
    assert same(
        RULES["one_half_only"](np.random.default_rng(0)).change(grid("11520", "01502")),
        grid("03", "00"),
    )
    for before, after in all_pairs(rule_task("count_cells", 0)):
        assert after.shape == (1, np.count_nonzero(before)) and after.all()
    for before, after in all_pairs(rule_task("gravity_left", 0)):
        for one, other in zip(rows(before), rows(after), strict=True):
            assert other == one.replace("0", "").ljust(len(one), "0")


def test_tasks_without_end_use_every_rule_each_round() -> None:
    first = list(islice(rule_tasks(1), 2 * len(RULES)))
    for part in (first[: len(RULES)], first[len(RULES) :]):
        assert {task.id.split("-")[1] for task in part} == set(RULES)
    assert [task.key for task in islice(rule_tasks(1), 5)] == [task.key for task in first[:5]]
    assert [task.key for task in islice(rule_tasks(2), 5)] != [task.key for task in first[:5]]
    assert {len(task.train) for task in first} == {2, 3, 4}
    assert {task.id.split("-")[1] for task in islice(rule_tasks(1, ["mirror", "crop"]), 6)} == {
        "mirror",
        "crop",
    }


def test_wrong_wishes_are_refused() -> None:
    for wish in ({"name": "magic"}, {"side": 3}, {"side": 11}, {"demonstrations": 0}):
        with pytest.raises(UsageError):
            rule_task(**{"name": "mirror", "seed": 0, **wish})


def test_no_task_is_one_of_arcs(arc1: dict[str, ArcTask]) -> None:
    known = {shown.key for task in arc1.values() for shown in (*task.train, *task.test)}
    for task in islice(rule_tasks(0), 300):
        # a one-cell or two-cell pair may coincide; anything larger would be a copy
        assert not any(
            shown.key in known and shown.input.size > 4 for shown in (*task.train, *task.test)
        )


def test_every_rule_is_of_one_family() -> None:
    listed = [name for family in RULE_FAMILIES.values() for name in family]
    assert sorted(listed) == sorted(RULES)
    with pytest.raises(UsageError, match="no family"):
        rules_of(["magic"])


@pytest.mark.parametrize("name", RULES)
def test_a_rule_explains_its_own_tasks_and_is_found_by_its_own_family(name: str) -> None:
    for seed in range(3):
        assert explaining_rule(rule_task(name, seed), [name]) == name
    family = next(names for names in RULE_FAMILIES.values() if name in names)
    assert explaining_rule(rule_task(name, 0), family) is not None


def test_no_rule_of_priming_explains_a_task_of_another_family() -> None:
    primed = rules_of(PrimeSettings().families)
    others = [name for name in RULES if name not in primed]
    assert len(others) > 10
    for name in others:
        for seed in range(3):
            assert explaining_rule(rule_task(name, seed, demonstrations=3), primed) is None, name
