"""Does the best self-edit win again: worked out by hand."""

from dataclasses import replace

import pytest

from selfedit.rl.rounds import rl_place
from selfedit.rl.signal import loop_signal, reward_signal
from selfedit.rl.signal_ratio import signal_ratio
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


CLEAR = [[1, 1], [0, 0], [0, 0]]
NOISY = [[1, 0], [0, 1], [1, 1], [0, 0]]


def test_one_run_against_itself_is_as_reliable():
    trials = rows("a", CLEAR) + rows("b", NOISY) + rows("c", [[1, 0], [0, 0], [0, 0]])
    found = signal_ratio({1: trials}, {1: trials})
    assert found.paired and (found.ratio, found.se) == (pytest.approx(1), pytest.approx(0))


def test_the_ratio_and_its_jackknife_by_hand():
    # Leaving out a context at a time leaves each run with the other one alone; loops are equal, so
    # they cancel.
    on = {name: rows(name, marks) for name, marks in (("a", CLEAR), ("b", NOISY))}
    off = {"a": rows("a", NOISY), "b": rows("b", [[1, 1], [0, 1], [0, 0], [0, 0]])}
    found = signal_ratio({1: on["a"] + on["b"]}, {1: off["a"] + off["b"]})

    def per_loop(trials) -> float:
        return loop_signal(trials).per_loop or 0.0

    whole = per_loop(on["a"] + on["b"]) / per_loop(off["a"] + off["b"])
    assert found.ratio == pytest.approx(whole) and found.paired
    one, other = (per_loop(on[name]) / per_loop(off[name]) for name in "ab")
    assert found.se == pytest.approx(abs(one - other) / 2)
    apart = signal_ratio({1: on["a"] + on["b"]}, {2: off["a"] + off["b"]})
    assert apart.ratio == found.ratio and not apart.paired and apart.se != found.se


def test_where_a_run_shows_no_signal_there_is_no_ratio():
    flat = rows("a", [[1, 1], [1, 1]])
    found = signal_ratio({1: rows("a", CLEAR)}, {1: flat})
    assert (found.ratio, found.se) == (None, None)
