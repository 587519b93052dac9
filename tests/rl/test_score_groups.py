"""Groups of inner loops: bounded, and evenly many for every worker."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfedit.engine.local import LocalEngine
from selfedit.errors import Interrupted
from selfedit.lm.load import load
from selfedit.rl import grouping, scoring
from selfedit.rl.grouping import form_groups, group_size
from selfedit.rl.rest_em import run_rounds
from selfedit.rl.rounds import rl_place
from tiny_run import contexts, session_in, tiny_settings
from trials import trainings_in


@pytest.mark.parametrize(
    ("loops", "most", "workers", "size"),
    [(24, 8, 2, 6), (8, 8, 2, 4), (8, 12, 1, 8), (25, 12, 1, 9), (1, 8, 4, 1)],
)
def test_by_hand(loops, most, workers, size):
    assert group_size(loops, most, workers) == size


@given(st.integers(1, 500), st.integers(1, 32), st.integers(1, 16))
def test_bounded_and_even(loops, most, workers):
    size = group_size(loops, most, workers)
    assert 1 <= size <= most
    groups = form_groups(range(loops), most, workers)
    assert sorted(loop for group in groups for loop in group) == list(range(loops))
    assert all(len(group) <= size for group in groups)
    rounds = math.ceil(math.ceil(loops / size) / workers)
    assert rounds <= math.ceil(loops / (most * workers))


def test_waiting_is_the_time_that_workers_stood_still(monkeypatch):
    """Two workers of ten seconds, busy for eight and six of them: three seconds of the run."""
    clock = iter([100.0, 106.5, 110.0])
    monkeypatch.setattr(scoring.time, "perf_counter", lambda: next(clock))
    idle = scoring.Idle(2)
    assert idle.after(6.0) == 6.5 - 3.0
    assert idle.after(8.0) == 3.5 - 4.0
    # together 10 − 14 / 2


def test_a_run_goes_on_with_groups_of_another_size(small_folder, tmp_path, caplog):
    """Stopped after its first group, it trains what is left in new ones, and nothing twice."""
    settings = tiny_settings(rl__rounds=1, inner__group=4)
    whole = session_in(tmp_path / "whole", load(str(small_folder), device="cpu"), settings)
    run_rounds(whole, contexts(3))
    expected = trainings_in(whole.run.ledger, rl_place(1))
    whole.run.close()

    first = session_in(tmp_path / "run", load(str(small_folder), device="cpu"), settings)
    first.engine = StopsAfter(first.lm, 1)
    with pytest.raises(Interrupted):
        run_rounds(first, contexts(3))
    before = len(trainings_in(first.run.ledger, rl_place(1)))
    first.run.close()
    assert 0 < before <= 4

    settings = tiny_settings(rl__rounds=1, inner__group=3)
    second = session_in(tmp_path / "run", load(str(small_folder), device="cpu"), settings)
    assert "inner.group: 4 → 3" in caplog.text
    second.engine = Noting(second.lm)
    run_rounds(second, contexts(3))
    again = trainings_in(second.run.ledger, rl_place(1))
    second.run.close()
    assert sum(second.engine.sizes) == len(expected) - before
    assert max(second.engine.sizes) <= 3
    assert sorted(place_of(row) for row in again) == sorted(place_of(row) for row in expected)
    losses = {place_of(row): row.final_loss for row in expected}
    assert all(row.final_loss == pytest.approx(losses[place_of(row)], abs=1e-4) for row in again)


def test_rows_that_finish_take_what_waits(small_folder, tmp_path, monkeypatch):
    """With two turns a row a group has twice as many inner loops as rows, and comes to the same."""
    expected = trained_with(small_folder, tmp_path / "one", LocalEngine)[1]
    monkeypatch.setitem(grouping.TURNS, "cpu", 2)
    batches, found = trained_with(small_folder, tmp_path / "two", Noting)
    assert max(batches.sizes) == 5 and set(batches.rows) == {3}
    assert found.keys() == expected.keys()
    assert all(found[place] == pytest.approx(expected[place], abs=1e-4) for place in expected)


def trained_with(model, folder, engine):
    settings = tiny_settings(rl__rounds=1, inner__group=3)
    session = session_in(folder, load(str(model), device="cpu"), settings)
    session.engine = engine(session.lm)
    run_rounds(session, contexts(3))
    losses = {
        place_of(row): row.final_loss for row in trainings_in(session.run.ledger, rl_place(1))
    }
    session.run.close()
    return session.engine, losses


def place_of(row):
    return (row.context_id, row.candidate, row.repeat)


class Noting(LocalEngine):
    """Notes the sizes of the groups it is given."""

    def __init__(self, lm):
        super().__init__(lm)
        self.sizes, self.rows = [], []

    def run(self, batches, on_tokens, check):
        self.sizes += [len(batch.jobs) for batch in batches]
        self.rows += [batch.rows for batch in batches]
        yield from super().run(batches, on_tokens, check)


class StopsAfter(LocalEngine):
    """Is interrupted once some groups are finished."""

    def __init__(self, lm, groups):
        super().__init__(lm)
        self.left = groups

    def run(self, batches, on_tokens, check):
        for done in super().run(batches, on_tokens, check):
            yield done
            self.left -= 1
            if self.left == 0:
                raise Interrupted("stopped")


def test_a_runs_workers_leave_their_waiting_in_the_ledger(small_folder, tmp_path, monkeypatch):
    settings = tiny_settings(workers=2, rl__rounds=1)
    session = session_in(tmp_path / "run", load(str(small_folder), device="cpu"), settings)
    # one worker does it all: the other waits
    monkeypatch.setattr(session.engine, "workers", 2)
    run_rounds(session, contexts(3))
    parts = {row.part: row for row in session.run.ledger.timings() if row.place == rl_place(1)}
    session.run.close()
    assert parts.keys() == {"sampling", "adapting", "answering", "grading", "waiting"}
    assert parts["waiting"].count == parts["adapting"].count == 9
    assert parts["waiting"].seconds >= 0.99 * parts["adapting"].seconds > 0
