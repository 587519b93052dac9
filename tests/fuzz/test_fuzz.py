"""A little of the fuzzing for every reader, the same inputs each time; ``make fuzz`` does much more
of it.
"""

from pathlib import Path

import pytest
from campaign import campaign
from targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_our_errors_comes_out(name: str, tmp_path: Path) -> None:
    assert campaign(name, 150, seed=1, folder=tmp_path) == {}


@pytest.mark.parametrize("name", TARGETS)
def test_what_it_begins_with_is_whole(name: str, tmp_path: Path) -> None:
    """Each target is handed something its reader accepts, or it would only ever see the first
    check.
    """
    for seed in TARGETS[name].seeds[:1]:
        try:
            TARGETS[name].run(tmp_path, seed)
        except Exception as error:
            assert name in (
                "adapter",
                "manifest",
                "run",
            ), error  # they go on to files that are not there
