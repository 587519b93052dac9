"""A little of the fuzzing for every reader, the same inputs each time; ``make fuzz`` does much more
of it.
"""

from pathlib import Path

import pytest
from campaign import Tally, campaign, shown
from targets import TARGETS

ELSEWHERE = ("adapter", "manifest", "run", "weight index")
"""Readers that go on to files that are not there."""


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_our_errors_comes_out(name: str, tmp_path: Path) -> None:
    tally = Tally()
    campaign(name, 6 * TARGETS[name].weight, tmp_path, tally)
    assert tally.wrong == {}, shown(name, tally)


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in ELSEWHERE])
def test_what_it_begins_with_is_read(name: str, tmp_path: Path) -> None:
    """Each target is handed something its reader accepts, or it would only ever see the first
    check.
    """
    TARGETS[name].run(tmp_path, TARGETS[name].seeds[0])
