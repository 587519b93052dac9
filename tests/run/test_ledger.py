import math
import sqlite3
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from run_rows import HERE, answer, base_trial, reward, rl, self_edit, training, trial
from selfedit.errors import RunFolderError, StorageFull
from selfedit.run.ledger import Ledger
from selfedit.run.records import Phase, Place, TimingRow, TrialKey


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def reopened(ledger):
    ledger.close()
    return Ledger(ledger.path)


def test_rows_come_back_as_they_were_after_reopening(ledger):
    edits = [
        self_edit(candidate=0, directives_json='{"lr": 1e-3}'),
        self_edit(candidate=1, rejected="not JSON"),
    ]
    ledger.add_self_edits(edits)
    done = trial(answers=[answer(correct=True, score=1.0, grader="calibrated"), answer("q1")])
    base = base_trial(answers=[answer(correct=False, score=0.0, grader="calibrated")])
    ledger.add_trials([done])
    ledger.add_trials([base])
    ledger.add_rewards([reward(kept=False)])
    with reopened(ledger) as ledger:
        assert ledger.self_edits(HERE) == edits
        assert ledger.trials(HERE) == [base, done]
        assert [row.candidate for row in ledger.trials(HERE)] == [None, 0]
        assert ledger.trials(HERE)[1].answers[1].correct is None
        assert ledger.rewards(HERE) == [reward(kept=False)]
        assert ledger.places() == [HERE]


def test_places_are_apart(ledger):
    places = [
        Place(Phase.EVAL),
        Place(Phase.EVAL, "base"),
        Place(Phase.EVAL, "base", 1),
        Place(Phase.EVAL, "seal"),
        rl(None),
        rl(0),
        rl(1),
        rl(12),
    ]
    for place in reversed(places):
        ledger.add_self_edits([self_edit(place=place)])
        ledger.add_trials([base_trial(place=place)])
    assert ledger.places() == places
    for place in places:
        assert ledger.self_edits(place) == [self_edit(place=place)]
        assert ledger.trials(place) == [base_trial(place=place)]
    assert ledger.self_edits(rl(2)) == []


def test_rows_come_in_key_order_whatever_order_they_were_stored_in(ledger):
    order = [("b", 1), ("a", 10), ("a", 2), ("B", 0), ("b", 0)]
    for context, candidate in order:
        ledger.add_self_edits([self_edit(context, candidate)])
        ledger.add_trials([trial(context, candidate)])
    ledger.add_trials([base_trial("b")])
    assert [(row.context_id, row.candidate) for row in ledger.self_edits(HERE)] == sorted(order)
    assert [row.key[:2] for row in ledger.trials(HERE)] == [
        *sorted(order)[:3],
        ("b", None),
        ("b", 0),
        ("b", 1),
    ]


def test_done_is_what_is_stored(ledger):
    ledger.add_self_edits([self_edit(candidate=7)])
    ledger.add_trials([trial(repeat=2, answers=[answer()]), trial(candidate=1)])
    ledger.add_trials([base_trial(answers=[answer(), answer("q1")]), base_trial("c1")])
    assert ledger.done(HERE) == {("c0", 0, 2), ("c0", 1, 0), ("c0", None, 0), ("c1", None, 0)}
    assert TrialKey("c0", 0, 2) in ledger.done(HERE)
    assert trial(repeat=2).key in ledger.done(HERE)
    assert ledger.done(rl(1)) == set()


def test_a_repeat_is_refused_and_nothing_of_the_call_is_stored(ledger):
    ledger.add_trials([trial(answers=[answer()]), base_trial()])
    before = ledger.trials(HERE)
    with pytest.raises(RunFolderError, match="in the ledger already"):
        ledger.add_trials([trial(candidate=1), trial()])
    with pytest.raises(RunFolderError, match="in the ledger already"):
        ledger.add_trials([trial(candidate=1), base_trial()])
    assert ledger.trials(HERE) == before
    ledger.add_trials([trial(candidate=1, answers=[answer()])])


def test_a_trial_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="training"):
        replace(base_trial(), candidate=0)
    with pytest.raises(ValueError, match="training"):
        replace(trial(), candidate=None)
    for twisted in ([answer("q1"), answer("q0")], [answer("q0"), answer("q0")]):
        with pytest.raises(ValueError, match="order of their questions"):
            trial(answers=twisted)


def test_steps(ledger):
    assert ledger.step("m-step/0") is None
    payload = {
        "path": "policy/round-1",
        "sha256": "ab",
        "text": "\ud800\x00",
        "loss": 0.1,
        "n": [1, None],
    }
    ledger.finish_step("m-step/0", payload)
    with pytest.raises(RunFolderError, match="already"):
        ledger.finish_step("m-step/0", {})
    with reopened(ledger) as ledger:
        assert ledger.step("m-step/0") == payload
        assert [row.name for row in ledger.steps()] == ["m-step/0"]


def test_timings_add_up_and_fall_with_their_transaction(ledger):
    def spent(seconds, count):
        return [TimingRow(place=HERE, part="adapting", seconds=seconds, count=count)]

    ledger.add_trials([trial(answers=[answer()])], spent(1.5, 2))
    ledger.add_timings(spent(0.5, 1))
    with pytest.raises(RunFolderError):
        ledger.add_trials([trial()], spent(100.0, 100))
    assert ledger.timings() == spent(2.0, 3)


def test_a_transaction_of_several_calls_is_stored_whole_or_not_at_all(ledger):
    with pytest.raises(KeyboardInterrupt), ledger.transaction():
        ledger.add_rewards([reward()])
        ledger.finish_step("selection/0", {"kept": 1})
        raise KeyboardInterrupt
    assert ledger.rewards(HERE) == [] and ledger.step("selection/0") is None
    with ledger.transaction():
        ledger.add_rewards([reward()])
        ledger.finish_step("selection/0", {"kept": 1})
    assert ledger.rewards(HERE) == [reward()] and ledger.step("selection/0") == {"kept": 1}


def test_a_failure_caught_within_a_transaction_still_fails_all_of_it(ledger):
    ledger.add_rewards([reward()])
    with pytest.raises(Exception, match="none of it is stored"), ledger.transaction():
        ledger.finish_step("one", {})
        with pytest.raises(RunFolderError):
            ledger.add_rewards([reward(candidate=1), reward()])
    assert ledger.step("one") is None
    assert ledger.rewards(HERE) == [reward()]


@pytest.mark.parametrize(
    "text", ["", "a\x00b\x00", "\ud800", "x\udfff\ud83d", "\U0001f600", "\r\n\t", "é" * 5000]
)
def test_no_text_of_a_model_is_lost(ledger, text):
    ledger.add_self_edits([self_edit(context="c" + text, text=text)])
    stored = trial("c" + text, answers=[answer("q" + text, text, grader=text)])
    ledger.add_trials([stored])
    with reopened(ledger) as ledger:
        assert ledger.self_edits(HERE)[0].text == text
        assert ledger.trials(HERE) == [stored]
        assert ledger.trials(HERE)[0].answers[0].text == text
        assert ledger.done(HERE) == {("c" + text, 0, 0)}


def test_clean_text_is_plain_text_to_other_tools(ledger):
    ledger.add_self_edits([self_edit(text="naïve")])
    with sqlite3.connect(ledger.path) as other:
        assert other.execute(
            "SELECT text, typeof(text), typeof(seed) FROM self_edits"
        ).fetchall() == [("naïve", "text", "integer")]
    other.close()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(), min_size=1))
def test_every_float_comes_back_equal(numbers):
    with TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        made = [training(repeat=i, final_loss=number) for i, number in enumerate(numbers)]
        ledger.add_trials([trial(repeat=i, trained=one) for i, one in enumerate(made)])
        back = [one.training.final_loss for one in ledger.trials(HERE) if one.training]
    assert all(
        new == old or (math.isnan(new) and math.isnan(old))
        for new, old in zip(back, numbers, strict=True)
    )


def test_numpy_numbers_are_stored_as_numbers(ledger):
    made = replace(
        training(),
        seed=np.int64(2**62),
        steps=np.int32(3),
        tokens=np.uint8(4),
        final_loss=np.float32(0.5),
    )
    ledger.add_trials(
        [trial(trained=made, answers=[answer(correct=np.bool_(True), score=np.float64(0.5))])]
    )
    back = ledger.trials(HERE)[0]
    assert back.training == replace(made, seed=2**62, steps=3, tokens=4, final_loss=0.5)
    assert back.answers[0].correct is True


def test_a_wrong_type_is_refused(ledger):
    with pytest.raises(TypeError):
        ledger.add_trials([trial(trained=replace(training(), steps=1.5))])
    assert ledger.done(HERE) == set()


def test_a_trial_is_json_to_other_tools(ledger):
    ledger.add_trials([trial(answers=[answer(correct=True), answer("q1", correct=False)])])
    with sqlite3.connect(ledger.path) as other:
        query = (
            "SELECT json_extract(training, '$.tokens'), json_extract(answers, '$[1].correct') FROM"
            " trials"
        )
        assert other.execute(query).fetchall() == [(5000, 0)]
    other.close()


def test_a_reader_sees_what_is_stored_while_the_run_writes(ledger):
    ledger.add_trials([trial(answers=[answer()])])
    with Ledger(ledger.path, readonly=True) as reader:
        with ledger.transaction():
            ledger.add_trials([trial(candidate=1)])
            assert reader.done(HERE) == {("c0", 0, 0)}
        assert len(reader.done(HERE)) == 2
        with pytest.raises(RunFolderError, match="readonly"):
            reader.add_rewards([reward()])


def test_another_writer_is_refused_and_named_as_the_cause(ledger):
    with Ledger(ledger.path, timeout=0.05) as other, ledger.transaction():
        match = "another process holds the ledger"
        with pytest.raises(RunFolderError, match=match):
            other.add_rewards([reward()])


def test_another_version_is_refused(ledger):
    ledger.close()
    with sqlite3.connect(ledger.path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(RunFolderError, match=r"form 99.*reads form 4"):
        Ledger(ledger.path)


def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path):
    notes, foreign = tmp_path / "notes", tmp_path / "foreign"
    notes.write_bytes(b"these are my notes, not a database\n" * 100)
    with pytest.raises(RunFolderError, match="not a ledger"):
        Ledger(notes)
    assert notes.read_bytes().startswith(b"these are my notes")
    with sqlite3.connect(foreign) as other:
        other.execute("CREATE TABLE mine (a)")
    other.close()
    with pytest.raises(RunFolderError, match="not a ledger"):
        Ledger(foreign)
    with pytest.raises(RunFolderError, match="cannot be used"):
        Ledger(tmp_path / "missing" / "ledger.sqlite")
    with pytest.raises(RunFolderError):
        Ledger(tmp_path / "absent", readonly=True)
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("where", [0.3, 0.9])
def test_a_damaged_ledger_is_found_when_it_is_opened(ledger, where):
    ledger.add_self_edits([self_edit(f"c{i}", text="x" * 500) for i in range(400)])
    ledger.close()
    data = bytearray(ledger.path.read_bytes())
    start = int(len(data) * where) // 4096 * 4096
    data[start : start + 4096] = b"\xa5" * 4096
    ledger.path.write_bytes(data)
    with pytest.raises(RunFolderError, match="damaged"):
        Ledger(ledger.path)


def test_no_room_keeps_what_is_stored_and_goes_on_when_there_is_some(ledger):
    ledger.add_trials([trial(answers=[answer()])])
    ledger._db.fetch("PRAGMA max_page_count = 40")
    with pytest.raises(StorageFull, match="no room"):
        ledger.add_trials(
            [trial(candidate=1, answers=[answer(f"{i:3}", "x" * 900) for i in range(400)])]
        )
    assert ledger.done(HERE) == {("c0", 0, 0)}
    ledger._db.fetch("PRAGMA max_page_count = 100000")
    ledger.add_trials([trial(candidate=1, answers=[answer()])])
    assert len(ledger.done(HERE)) == 2


def test_steps_and_timings_come_sorted_too(ledger):
    for name in ("b", "a", "c"):
        ledger.finish_step(name, {})
        ledger.add_timings([TimingRow(place=HERE, part=name, seconds=1.0, count=1)])
    assert (
        [row.name for row in ledger.steps()]
        == [row.part for row in ledger.timings()]
        == ["a", "b", "c"]
    )


def test_verdicts_are_counted_as_the_answers_say(ledger):
    graded = [
        answer("q0", correct=True, grader="g"),
        answer("q1", correct=False, grader="g"),
        answer("q2", grader="g"),
        answer("q3"),
    ]
    ledger.add_trials(
        [trial("b\ud800", 0, 1, answers=graded), trial("b\ud800", 1, 1, answers=graded)]
    )
    ledger.add_trials([trial("a", 0, 0, answers=graded[:1]), trial("none", 0, 0)])
    ledger.add_trials([trial("a", place=rl(7), answers=graded)])
    assert ledger.verdicts(HERE) == [("a", 0, 1, 1, 0), ("b\ud800", 1, 2, 4, 2)]
