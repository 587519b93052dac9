from __future__ import annotations

import numpy as np
import pytest
from arc_grids import grid, pair, same

from selfedit.errors import UsageError
from selfedit.tasks.arc.grids import as_grid
from selfedit.tasks.arc.task import ArcTask
from selfedit.tasks.arc.tools import TOOLBOX, Toolbox
from selfedit.tasks.arc.ttt_data import (
    UNTOUCHED,
    Example,
    TTTDataSettings,
    counts_by_family,
    leave_out,
    permute,
    ttt_examples,
)

ALL = TOOLBOX.families
UNCAPPED = TTTDataSettings(max_examples=10**6)

# Derived by hand from the shapes of the demonstrations; every count is twice the pseudo-tasks that
# fit, because each has one recoloured and reordered copy.
#
# 6150a2bd: 2 demonstrations, all grids 3 × 3. Leave 1: 2 pseudo-tasks. Leave 2 would show nothing:
# none.
#   All 23 augmenters fit (6 × 6 at most): basic 2·11, size 2·3, chain 2·6, repeat 2·3, untouched 2;
# all of it twice.
#
# 67e8384a: 4 demonstrations 3 × 3 → 6 × 6. Leave 1: 4; leave 2: 4·3 = 12; together 16, and all fit
# (12 × 12).
#   basic 16·11, size 16·3, chain 16·6, repeat 16·3, untouched 16; twice.
#
# bc4146bd: 4 demonstrations 4 × 4 → 4 × 20, 16 pseudo-tasks. Nothing may double the width (40 >
# 30), but the height
#   may double. basic: 11 less reflect_right and reflect_left = 9. size: double_height alone, 1.
# chain: all double both
#   sides, and turning first only makes the 20 a height: 0. repeat: repeat_down alone, 1.
#
# 4be741c5: 3 demonstrations, A 14 × 16 → 1 × 3, B 9 × 7 → 3 × 1, C 11 × 9 → 4 × 1. Leave 1: 3
# pseudo-tasks, each of
#   which has A shown or asked. Leave 2: 6, one shown and one asked; of the ordered pairs (A,B)
# (A,C) (B,A) (B,C) (C,A)
#   (C,B) four have A. So 7 pseudo-tasks with A, where the width 16 may not double and the height 14
# may, and 2 without,
#   where all fits (22 × 18). basic 7·9 + 2·11 = 85, size 7·1 + 2·3 = 13, chain 2·6 = 12, repeat 7·1
# + 2·3 = 13,
#   untouched 9; twice.
BY_HAND = {
    "6150a2bd": {"basic": 44, "size": 12, "chain": 24, "repeat": 12, UNTOUCHED: 4},
    "67e8384a": {"basic": 352, "size": 96, "chain": 192, "repeat": 96, UNTOUCHED: 32},
    "bc4146bd": {"basic": 288, "size": 32, "repeat": 32, UNTOUCHED: 32},
    "4be741c5": {"basic": 170, "size": 26, "chain": 24, "repeat": 26, UNTOUCHED: 18},
}


@pytest.mark.parametrize("name", BY_HAND)
def test_counts_by_family_are_those_derived_by_hand(name: str, arc1: dict[str, ArcTask]) -> None:
    task = arc1[name]
    for seed in range(3):
        assert counts_by_family(ttt_examples(task, ALL, seed, UNCAPPED)) == BY_HAND[name]
        capped = ttt_examples(task, ALL, seed)
        assert len(capped) == min(250, sum(BY_HAND[name].values()))
        drawn = counts_by_family(capped)
        assert all(drawn[family] <= count for family, count in BY_HAND[name].items())


def test_families_are_applied_as_chosen(arc1: dict[str, ArcTask]) -> None:
    task = arc1["67e8384a"]
    counts = BY_HAND["67e8384a"]
    assert counts_by_family(ttt_examples(task, [], 0, UNCAPPED)) == {UNTOUCHED: counts[UNTOUCHED]}
    assert counts_by_family(ttt_examples(task, iter(["size", "chain"]), 0, UNCAPPED)) == {
        family: counts[family] for family in (UNTOUCHED, "size", "chain")
    }
    with pytest.raises(UsageError, match="no family 'mine'"):
        ttt_examples(task, ["mine"], 0)


def test_the_same_seed_gives_the_same_examples(arc1: dict[str, ArcTask]) -> None:
    one, again, other = (
        [example.pairs for example in ttt_examples(arc1["67e8384a"], ALL, seed)]
        for seed in (1, 1, 2)
    )
    assert one == again and one != other


def test_examples_come_from_the_demonstrations_alone(arc1: dict[str, ArcTask]) -> None:
    task = arc1["67e8384a"]
    blind = ArcTask(task.id, task.train, (grid("1"),))
    assert [e.pairs for e in ttt_examples(task, ALL, 0)] == [
        e.pairs for e in ttt_examples(blind, ALL, 0)
    ]


def test_each_pair_left_out_is_the_query_in_turn() -> None:
    a, b, c = pair("12"), pair("34"), pair("56")
    assert [(e.demonstrations, e.query) for e in leave_out([a, b, c], 1)] == [
        ((b, c), a),
        ((a, c), b),
        ((a, b), c),
    ]
    assert [(e.demonstrations, e.query) for e in leave_out([a, b, c], 2)] == [
        ((c,), a),
        ((c,), b),
        ((b,), a),
        ((b,), c),
        ((a,), b),
        ((a,), c),
    ]
    assert not list(leave_out([a, b], 2)) and not list(leave_out([a], 1))


def test_a_task_of_one_demonstration_has_no_examples() -> None:
    assert ttt_examples(ArcTask("one", (pair("12"),), (grid("1"),)), ALL, 0) == []


def test_every_example_still_shows_the_rule(arc1: dict[str, ArcTask]) -> None:
    # 3c9b0459 is a half turn, which every augmenter but the roll and the half-sided reflections
    # commutes with
    examples = ttt_examples(arc1["3c9b0459"], ["size", "chain", "repeat"], 0, UNCAPPED)
    assert {example.permuted for example in examples} == {True, False}
    for example in examples:
        assert all(same(shown.output, np.rot90(shown.input, 2)) for shown in example.pairs)


def test_every_grid_of_every_example_is_a_grid(arc1: dict[str, ArcTask]) -> None:
    for task in list(arc1.values())[::50]:
        for example in ttt_examples(task, ALL, 0, TTTDataSettings(max_examples=40)):
            for shown in example.pairs:
                assert same(as_grid(shown.input), shown.input) and same(
                    as_grid(shown.output), shown.output
                )


def test_a_symmetric_task_has_no_example_twice() -> None:
    # one colour everywhere: every turn, flip and roll gives the untouched task again
    flat = ArcTask("flat", (pair("11", "11"), pair("2222", "2222")), (grid("1"),))
    examples = ttt_examples(flat, ALL, 0, UNCAPPED)
    assert len({example.pairs for example in examples}) == len(examples)
    assert counts_by_family(examples)[UNTOUCHED] == 4


def test_one_change_serves_the_whole_pseudo_task() -> None:
    box = Toolbox.builtin()
    task = ArcTask(
        "t",
        (pair("123", "456", "780"), pair("987", "654", "321"), pair("123", "222", "333")),
        (grid("1"),),
    )
    rolled = [
        e
        for e in ttt_examples(task, ["basic"], 0, UNCAPPED, box)
        if e.tool == "random_roll" and not e.permuted
    ]
    assert len(rolled) == 9
    by_cells = {frozenset(shown.input.ravel().tolist()): shown.input for shown in task.train}
    for example in rolled:
        before = [
            (shown.input, by_cells[frozenset(shown.input.ravel().tolist())])
            for shown in example.pairs
        ]
        shifts = [
            (rows, columns)
            for rows in range(3)
            for columns in range(3)
            if (rows, columns) != (0, 0)
        ]
        assert any(all(same(now, np.roll(was, by, (0, 1))) for now, was in before) for by in shifts)


def test_a_copy_is_recoloured_throughout_and_reordered() -> None:
    example = Example((pair("12"), pair("30")), pair("45"))
    copies = [permute(example, np.random.default_rng(seed)) for seed in range(20)]
    first = {bool(copy.demonstrations[0].input.all()) for copy in copies}
    assert first == {True, False}  # black stays black, and so shows where the second pair went
    for copy in copies:
        assert copy.permuted and copy.query != example.query
        assert all(same(shown.output, shown.input[:, ::-1]) for shown in copy.pairs)
        assert len({int(cell) for shown in copy.pairs for cell in shown.input.ravel()}) == 6


def test_caps_on_tokens(arc1: dict[str, ArcTask]) -> None:
    task = arc1["67e8384a"]
    short = ttt_examples(task, ALL, 0, TTTDataSettings(max_examples=10**6, max_example_tokens=300))
    assert short and max(example.tokens for example in short) <= 300
    assert len(short) < sum(BY_HAND["67e8384a"].values())
    few = ttt_examples(task, ALL, 0, TTTDataSettings(max_total_tokens=4600))
    spent = sum(example.tokens for example in few)
    assert 3000 < spent <= 4600


def test_the_cap_draws_from_everywhere(arc1: dict[str, ArcTask]) -> None:
    examples = ttt_examples(arc1["67e8384a"], ALL, 0)
    drawn = counts_by_family(examples)
    assert 90 < sum(example.permuted for example in examples) < 160
    expected = {family: 250 * count / 768 for family, count in BY_HAND["67e8384a"].items()}
    for family, count in expected.items():
        assert abs(drawn[family] - count) < 4 * count**0.5


def test_settings_are_checked() -> None:
    for wrong in ({"max_examples": 0}, {"leave_out": ()}, {"seed": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TTTDataSettings(**wrong)


def test_a_users_family_gives_examples(arc1: dict[str, ArcTask]) -> None:
    box = Toolbox.builtin()
    box.tool("grow", family="mine")(lambda cells: np.pad(cells, 1))
    counts = counts_by_family(ttt_examples(arc1["6150a2bd"], ["mine"], 0, UNCAPPED, box))
    assert counts == {UNTOUCHED: 4, "mine": 4}
    box.tool("too_large", family="huge")(lambda cells: np.tile(cells, (11, 1)))
    assert "huge" not in counts_by_family(
        ttt_examples(arc1["6150a2bd"], ["huge"], 0, UNCAPPED, box)
    )
