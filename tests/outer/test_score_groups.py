"""Groups of inner loops: bounded, and evenly many for every worker."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfedit.outer import score
from selfedit.outer.groups import form_groups, group_size


@pytest.mark.parametrize(
    ("loops", "most", "workers", "size"), [(24, 8, 2, 6), (8, 8, 2, 4), (8, 12, 1, 8), (25, 12, 1, 9), (1, 8, 4, 1)]
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


@pytest.mark.parametrize(("workers", "expected"), [(2, [(3.0, 2)]), (1, [])])
def test_waiting_is_the_time_that_workers_stood_still(monkeypatch, workers, expected):
    """Ten seconds of two workers, of which they were busy for eight and six: three seconds of the run."""
    stored, clock = [], iter([100.0, 110.0])
    ledger = SimpleNamespace(add_timings=stored.extend)
    session = SimpleNamespace(settings=SimpleNamespace(workers=workers), run=SimpleNamespace(ledger=ledger))
    monkeypatch.setattr(score.time, "perf_counter", lambda: next(clock))
    with pytest.raises(KeyboardInterrupt), score.waiting(session, "rl", 1) as busy:
        busy += [8.0, 6.0]
        raise KeyboardInterrupt  # what was waited until then counts too
    assert [(row.seconds, row.count) for row in stored] == expected
