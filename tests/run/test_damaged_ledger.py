"""A ledger with bytes changed anywhere: it is refused, or every row is as it was."""

import random
import sqlite3

import pytest

from run_rows import HERE, answer, base_trial, reward, rl, self_edit, trial
from selfedit.errors import RunFolderError
from selfedit.run.ledger import Ledger
from selfedit.run.records import KnownAnswer, TimingRow

PAGE = 4096


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A ledger's bytes, with rows in every table."""
    path = tmp_path_factory.mktemp("whole") / "ledger.sqlite"
    with Ledger(path) as ledger:
        for number in range(3):
            place = rl(number)
            edits = [self_edit(f"c{i}", place=place, text=f"text {i} é" * 9) for i in range(12)]
            ledger.add_self_edits(edits)
            answers = [answer(f"q{q}", "an answer" * 5, correct=q > 1, score=0.1) for q in range(4)]
            trials = [trial(f"c{i}", place=place, answers=answers) for i in range(12)]
            known = KnownAnswer(weights="w", asked=f"a{number}", answer=answer())
            spent = [TimingRow(place=rl(0), part="adapting", seconds=0.5, count=2)]
            ledger.add_trials([*trials, base_trial(place=place)], spent, [known])
            ledger.add_rewards([reward(f"c{i}", place=place) for i in range(12)])
            ledger.finish_step(f"round-{number}", {"kept": number})
    return path.read_bytes()


def content(ledger):
    places = ledger.places()
    tables = [ledger.self_edits, ledger.trials, ledger.rewards]
    rows = [table(place) for table in tables for place in places]
    looked_up = [ledger.step(f"round-{number}") for number in range(3)]
    done = [ledger.done(place) for place in places]
    return (
        rows,
        ledger.timings(),
        ledger.steps(),
        ledger.known("w", ["a0", "a1", "a2"]),
        places,
        looked_up,
        done,
    )


@pytest.fixture
def refused(tmp_path, whole):
    """Whether these bytes are refused as a ledger; if they are not, their rows are the old ones."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(whole)
    with Ledger(path, readonly=True) as ledger:
        expected = content(ledger)

    def check(data, *, readonly=True):
        path.write_bytes(data)
        for part in ("-wal", "-shm"):
            path.with_name(path.name + part).unlink(missing_ok=True)
        try:
            with Ledger(path, readonly=readonly, begun=True) as ledger:
                assert content(ledger) == expected
        except RunFolderError as error:
            assert error.fix and str(path) in str(error)
            return True
        return False

    return check


def flipped(data, where, value):
    return data[:where] + bytes([data[where] ^ value]) + data[where + 1 :]


def test_any_byte_changed(whole, refused):
    moments = random.Random(0)
    places = [*range(100), *moments.sample(range(100, len(whole)), 500)]
    found = [refused(flipped(whole, place, moments.randint(1, 255))) for place in places]
    assert sum(found) > len(found) // 3  # the others fell on room that holds nothing


def test_any_byte_of_a_row_changed(whole, refused):
    """Inside what is stored nothing goes unnoticed, in the tables or in what finds their rows."""
    for text in (b"an answer", b"text 3", b"round-1", b"adapting", b"correct", b"CREATE", b"c11"):
        places = [i for i in range(len(whole)) if whole.startswith(text, i)]
        assert places
        for place in places[:: max(1, len(places) // 6)]:
            assert refused(flipped(whole, place, 1)), f"{text!r} at {place}"


def test_pages_lost_emptied_and_exchanged(whole, refused):
    pages = [whole[start : start + PAGE] for start in range(0, len(whole), PAGE)]
    for number in range(len(pages)):
        other = (number + 1) % len(pages)
        exchanged = [*pages]
        exchanged[number], exchanged[other] = pages[other], pages[number]
        for changed in (exchanged, [*pages[:number], b"\0" * PAGE, *pages[number + 1 :]]):
            assert refused(b"".join(changed))
        assert refused(whole[: number * PAGE + 17])


def test_a_writer_finds_it_too_and_changes_nothing(whole, refused, tmp_path):
    data = whole.replace(b"an answer", b"an Answer", 1)
    assert refused(data, readonly=False)
    assert (tmp_path / "ledger.sqlite").read_bytes() == data


def test_rows_changed_added_or_removed_by_another_program_are_found(whole, refused, tmp_path):
    for statement in (
        "UPDATE rewards SET reward = 2 WHERE rowid = 3",
        "UPDATE timings SET seconds = 9",
        "DELETE FROM trials WHERE rowid = 30",
        "INSERT INTO steps VALUES ('more', '{}', '')",
        "UPDATE trials SET answers = replace(answers, 'true', 'false') WHERE rowid = 5",
        "DELETE FROM seals WHERE name = 'trials'",
        "DROP TABLE seals",
    ):
        path = tmp_path / "changed.sqlite"
        path.write_bytes(whole)
        with sqlite3.connect(path, isolation_level=None) as db:
            db.execute(statement)
        db.close()
        assert refused(path.read_bytes()), statement


def test_a_second_writers_rows_are_followed(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as one, Ledger(path) as other:
        for number in range(6):
            (one if number % 2 else other).add_rewards([reward(candidate=number)])
        assert len(one.rewards(HERE)) == 6
    with Ledger(path, begun=True) as again:
        assert len(again.rewards(HERE)) == 6
