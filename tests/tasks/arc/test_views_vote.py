from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from arc_grids import grid, grids, pair, same
from hypothesis import given
from hypothesis import strategies as st

from selfedit.tasks.arc.augment import DOUBLE, Augmenter
from selfedit.tasks.arc.grids import AnswerFault
from selfedit.tasks.arc.task import ArcTask
from selfedit.tasks.arc.viewed import VIEWS, viewed_prompts
from selfedit.tasks.arc.vote import share_of_right_cells, solved, vote

THREE = ArcTask("t", (pair("12"), pair("34"), pair("56")), (grid("789"), grid("012")))


def test_there_are_five_other_sides() -> None:
    assert [view.name for view in VIEWS] == [
        "identity",
        "transpose",
        "flip_rows",
        "flip_columns",
        "rotate90",
        "rotate180",
    ]
    cells = grid("123", "456")
    assert (
        len({view.forward(cells).tobytes() + bytes(view.forward(cells).shape) for view in VIEWS})
        == 6
    )


@given(grids)
def test_every_answer_is_mapped_back(cells: Any) -> None:
    for prompt in viewed_prompts(THREE, 0):
        assert same(prompt.map_back(prompt.view.forward(cells)), cells)
        assert prompt.map_back(AnswerFault.RAGGED) is AnswerFault.RAGGED


def test_a_solver_that_sees_only_the_prompt_is_right_from_every_side(
    arc1: dict[str, ArcTask],
) -> None:
    # 3c9b0459 is a half turn: turning the query of any view by half and mapping back gives the
    # solution
    task = arc1["3c9b0459"]
    made = viewed_prompts(task, 0)
    assert len(made) == 4 * 2 * 6
    for prompt in made:
        assert all(same(shown.output, np.rot90(shown.input, 2)) for shown in prompt.demonstrations)
        assert same(prompt.map_back(np.rot90(prompt.query, 2)), task.test[0].output)


def test_every_choice_of_demonstrations_in_two_orders_from_every_side() -> None:
    made = viewed_prompts(THREE, 0)
    assert len(made) == 2 * 3 * 2 * 6  # test inputs, choices, orders, views
    for index in (0, 1):
        plain = [p for p in made if p.test_index == index and p.view.name == "identity"]
        assert {p.demonstrations for p in plain} == set(permutations(THREE.train, 2))
        assert all(same(p.query, THREE.inputs[index]) for p in plain)


def test_no_prompt_twice_and_the_same_for_a_seed() -> None:
    two = ArcTask("two", THREE.train[:2], THREE.inputs[:1])
    assert len(viewed_prompts(two, 0)) == 2 * 1 * 6  # one demonstration has one order
    one = ArcTask("one", THREE.train[:1], THREE.inputs[:1])
    assert [p.demonstrations for p in viewed_prompts(one, 0, views=VIEWS[:1])] == [one.train]
    four = ArcTask("four", (*THREE.train, pair("78")), THREE.inputs)
    orders = [[p.demonstrations for p in viewed_prompts(four, seed)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert len(viewed_prompts(four, 0, orders=100, views=VIEWS[:1])) == 2 * 4 * 6


def test_fewer_prompts_from_the_other_sides() -> None:
    made = viewed_prompts(THREE, 0, per_view=1)
    assert len(made) == 2 * (3 * 2 + 5)
    assert (
        viewed_prompts(THREE, 0, per_view=99)[0].demonstrations
        and len(viewed_prompts(THREE, 0, per_view=99)) == 72
    )


def test_solutions_are_not_seen() -> None:
    known = ArcTask("t", THREE.train, THREE.inputs, THREE.inputs)
    assert [p.demonstrations for p in viewed_prompts(known, 0)] == [
        p.demonstrations for p in viewed_prompts(THREE, 0)
    ]


def test_a_view_must_have_an_inverse() -> None:
    assert viewed_prompts(THREE, 0, views=[DOUBLE])
    with pytest.raises(ValueError, match="inverse"):
        viewed_prompts(THREE, 0, views=[Augmenter("one-way", "view", lambda cells: cells)])


A, B, C = grid("1"), grid("2"), grid("33")


def test_the_two_answers_with_most_votes_are_the_attempts() -> None:
    ballot = vote([A, B, AnswerFault.CUT_OFF, B, C, C, C.copy(), AnswerFault.CUT_OFF])
    assert [attempt.tolist() for attempt in ballot.attempts] == [C.tolist(), B.tolist()]
    assert (
        ballot.votes == (3, 2) and ballot.faults == {AnswerFault.CUT_OFF: 2} and ballot.answers == 8
    )
    assert len(vote([A, B, B], attempts=1).attempts) == 1


def test_among_equals_the_first_given_comes_first() -> None:
    assert [attempt.tolist() for attempt in vote([B, A, C]).attempts] == [B.tolist(), A.tolist()]


def test_answers_of_other_shape_are_other_answers() -> None:
    ballot = vote([grid("11"), grid("1", "1")])
    assert len(ballot.attempts) == 2


def test_no_grid_no_attempt() -> None:
    ballot = vote([AnswerFault.RAGGED])
    assert ballot.attempts == () and ballot.answers == 1
    assert vote([]).attempts == () and not solved([()], [A])


@given(st.lists(st.sampled_from([A, B, C]), max_size=9), st.randoms())
def test_votes_do_not_depend_on_the_order(answers: list[Any], random: Any) -> None:
    shuffled = random.sample(answers, len(answers))
    assert vote(answers).votes == vote(shuffled).votes


def test_solved_means_every_test_input_by_either_attempt() -> None:
    assert solved([(A, B)], [B]) and not solved([(A, B)], [C])
    assert solved([(A, B), (C,)], [B, C]) and not solved([(A, B), (A,)], [B, C])
    for attempts, solutions in (([(A,)], [A, B]), ([(B,), (B,)], [A])):
        with pytest.raises(ValueError, match="attempts at"):
            solved(attempts, solutions)


def test_the_share_of_right_cells() -> None:
    assert share_of_right_cells(grid("12", "34"), grid("12", "30")) == 0.75
    assert share_of_right_cells(grid("1234"), grid("12", "34")) == 0
    assert share_of_right_cells(AnswerFault.RAGGED, A) == share_of_right_cells(None, A) == 0
