"""Groups of inner loops: bounded, and evenly many for every worker."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
