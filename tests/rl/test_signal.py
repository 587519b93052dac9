"""Does the best self-edit win again: worked out by hand."""

from dataclasses import replace

import pytest

from selfedit.rl.rounds import rl_place
from selfedit.rl.signal import reward_signal
from selfedit.run.records import Answer, Training, Trial


def rows(context, marks):
    """``marks[candidate][repeat]`` as trials, with one answer each."""
    training = Training(seed=0, steps=1, tokens=1, final_loss=0.0, seconds=0.0, settings_hash="")
    return [
        Trial(
            place=rl_place(1), context_id=context, candidate=candidate, repeat=repeat, training=training,
            answers=(Answer(question_id="q", text="", tokens=1, correct=bool(mark), grader="", seconds=0.0),),
        )
        for candidate, of in enumerate(marks)
        for repeat, mark in enumerate(of)
    ]  # fmt: skip


def test_by_hand():
    # a: the first is right twice, the others never: whichever seed chooses, 1 against 0.
    # b: the first seed chooses candidate 0, elsewhere 0 against (1 + 0) / 2; the second 1, 0
    # against (1 + 0) / 2. c: nobody is ever right.
    found = reward_signal(
        rows("a", [[1, 1], [0, 0], [0, 0]])
        + rows("b", [[1, 0], [0, 1], [0, 0]])
        + rows("c", [[0, 0], [0, 0]])
    )
    assert found["n"] == 3 and found["undecided"] == 1
    assert found["gain"]["mean"] == pytest.approx((1 - 0.5 + 0) / 3)
    # between: a 2·((2/3)² + 2·(1/3)²) = 4/3, b 2·(2·(1/6)² + (1/3)²) = 1/3, of 2 + 2 + 1 freedoms;
    # within: b 2·(1/2) = 1, of 3 + 3 + 2.
    between, within = (4 / 3 + 1 / 3) / 5, 1 / 8
    assert found["reliability"] == pytest.approx((between - within) / (between + within))


def test_the_unadapted_model_is_no_candidate_and_one_seed_says_nothing():
    base = [replace(rows("a", [[1]])[0], candidate=None, training=None)]
    assert reward_signal(base + rows("a", [[1], [0]])) == {
        "gain": None,
        "n": 0,
        "undecided": 0,
        "reliability": None,
    }


def test_where_nothing_varies_there_is_no_reliability():
    found = reward_signal(rows("a", [[1, 1], [1, 1]]))
    assert found["gain"]["mean"] == 0 and found["undecided"] == 1 and found["reliability"] is None
