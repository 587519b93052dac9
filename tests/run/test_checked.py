"""A large ledger whose bytes were checked is opened again without reading its rows, and no change
of a byte goes unnoticed for it.
"""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest

from run_rows import HERE, answer, base_trial
from selfedit.errors import RunFolderError
from selfedit.run.ledger import Ledger
from selfedit.storage import checked
from selfedit.storage.seals import Seals

TRIALS, ANSWERS = 4000, 20


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELFEDIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A ledger of a few tens of megabytes."""
    path = tmp_path_factory.mktemp("large") / "ledger.sqlite"
    answers = [answer(f"q{number:02}", "an answer " * 8, correct=True) for number in range(ANSWERS)]
    with Ledger(path) as ledger:
        ledger.add_trials([base_trial(f"c{n:05}", answers=answers) for n in range(TRIALS)])
    return path.read_bytes()


@pytest.fixture
def ledger_file(tmp_path: Path, stored: bytes, cache: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(stored)
    assert len(stored) > checked.SMALL
    return path


@pytest.fixture
def row_checks(monkeypatch: pytest.MonkeyPatch) -> list[Seals]:
    """An entry for each time that all rows were read."""
    done: list[Seals] = []
    check = Seals.check

    def counted(seals: Seals) -> None:
        done.append(seals)
        check(seals)

    monkeypatch.setattr(Seals, "check", counted)
    return done


def open_and_close(path: Path, *, readonly: bool = True) -> None:
    Ledger(path, readonly=readonly, begun=True).close()


def test_rows_are_read_once_and_after_each_change(
    ledger_file: Path, row_checks: list[Seals]
) -> None:
    for _ in range(3):
        open_and_close(ledger_file)
    assert len(row_checks) == 1
    with Ledger(ledger_file, begun=True) as ledger:
        assert len(row_checks) == 1
        ledger.finish_step("done", {})
    assert len(row_checks) == 2  # a writer carries the rows' hashes on
    for _ in range(2):
        with Ledger(ledger_file, readonly=True) as ledger:
            assert ledger.step("done") == {} and ledger.trial_count(HERE) == TRIALS
    assert len(row_checks) == 3


@pytest.mark.parametrize("readonly", [True, False])
def test_a_byte_changed_after_the_check_is_found(
    ledger_file: Path, stored: bytes, readonly: bool
) -> None:
    open_and_close(ledger_file)
    where = stored.index(b"an answer", len(stored) // 2)
    ledger_file.write_bytes(stored[:where] + b"b" + stored[where + 1 :])
    for _ in range(2):  # a refusal is no check
        with pytest.raises(RunFolderError, match="rows of trials are not those that were stored"):
            open_and_close(ledger_file, readonly=readonly)


def test_damage_between_opening_and_the_first_write_is_found(
    ledger_file: Path, stored: bytes
) -> None:
    open_and_close(ledger_file)
    where = stored.index(b"an answer", len(stored) // 2)
    with Ledger(ledger_file, begun=True) as ledger:
        with ledger_file.open("r+b") as file:
            file.seek(where)
            file.write(b"b")
        with pytest.raises(RunFolderError, match="are not those that were stored"):
            ledger.finish_step("done", {})


def test_rows_in_the_log_are_checked(ledger_file: Path, row_checks: list[Seals]) -> None:
    """A run that is under way: its newest rows are not in the file yet."""
    open_and_close(ledger_file)
    with Ledger(ledger_file, begun=True) as writer:
        writer.add_trials([base_trial("more")])
        before = len(row_checks)
        open_and_close(ledger_file)
        assert len(row_checks) == before + 1


def test_a_cache_that_cannot_be_written_costs_only_time(
    ledger_file: Path, cache: Path, row_checks: list[Seals]
) -> None:
    cache.write_text("no folder")
    for _ in range(2):
        open_and_close(ledger_file)
    assert len(row_checks) == 2


def test_small_ledgers_leave_nothing_in_the_cache(tmp_path: Path, cache: Path) -> None:
    Ledger(tmp_path / "small.sqlite").close()
    open_and_close(tmp_path / "small.sqlite")
    assert not cache.exists()


def test_opening_takes_little_of_what_the_check_takes(ledger_file: Path) -> None:
    def spent() -> float:
        start = time.thread_time()
        open_and_close(ledger_file)
        return time.thread_time() - start

    first, *again = [spent() for _ in range(4)]
    assert min(again) < first / 2


def test_a_check_holds_few_rows_at_a_time(ledger_file: Path) -> None:
    tracemalloc.start()
    open_and_close(ledger_file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < ledger_file.stat().st_size / 4
