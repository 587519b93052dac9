"""``inner.group = "auto"``: what memory has room for, once and for all of a phase."""

from __future__ import annotations

import pytest

from selfedit.config import read_settings
from selfedit.engine import local
from selfedit.errors import UsageError
from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import LoraSpec
from selfedit.lm.loss import CHUNK_BYTES
from selfedit.rl.grouping import LARGEST, SIZES, bytes_per_adapter, choose_group, most_in_memory
from tiny_run import session_in, tiny_settings


@pytest.fixture(scope="module")
def lm(small_folder) -> LanguageModel:
    return load(str(small_folder), device="cpu")


def job(lengths: list[int], batch: int = 1, rank: int = 4) -> AdaptJob:
    sequences = [TrainSequence((5,) * n, (False, *[True] * (n - 1))) for n in lengths]
    return AdaptJob(sequences, LoraSpec(rank), OptimSpec(batch_size=batch))


def test_bytes_of_an_adapter_by_hand(lm: LanguageModel) -> None:
    # Two layers: D 64, F 160, queries 64, keys and values 32 each.
    parameters = 2 * 4 * (128 + 96 + 96 + 128 + 3 * 224)
    kept = 2 * (4 * 64 + 2 * 64 + 2 * 32 + 4 * 160 + 4 * 7)
    assert bytes_per_adapter(lm, job([10, 30, 20])) == 5 * 4 * parameters + 4 * kept * 30
    assert bytes_per_adapter(lm, job([10, 30, 20], batch=2)) == 5 * 4 * parameters + 4 * kept * 50


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_chosen_fits_and_the_next_size_would_not(lm: LanguageModel, workers: int) -> None:
    jobs = [job([50]), job([200])]
    weights = sum(p.numel() * 4 for p in lm.model.parameters()) if workers > 1 else 0
    each = bytes_per_adapter(lm, jobs[1])
    for wanted in [size for size in SIZES if size <= LARGEST]:
        room = (wanted * each + 2 * CHUNK_BYTES + weights) * workers
        assert most_in_memory(lm, jobs, workers, room) == wanted
        assert most_in_memory(lm, jobs, workers, room - workers) == max(
            [s for s in SIZES if s < wanted], default=1
        )
    assert most_in_memory(lm, jobs, workers, 2**50) == LARGEST
    assert most_in_memory(lm, jobs, workers, 0) == 1


def test_it_is_chosen_once(small_folder, tmp_path, lm: LanguageModel, monkeypatch) -> None:
    memory = [(2**50, 10**6), (2**50, 2**50)]  # a resumed run finds more free
    monkeypatch.setattr(local, "memory_bytes", lambda device: memory.pop(0))
    settings = tiny_settings(inner__group="auto")
    for _ in range(2):
        session = session_in(tmp_path / "run", lm, settings)
        assert choose_group(session, "rl 1", [job([50])]) == 1
        session.run.close()
    assert len(memory) == 1
    session = session_in(tmp_path / "other", lm, tiny_settings(inner__group=5))
    assert choose_group(session, "rl 1", [job([50])]) == 5
    session.run.close()


def test_a_number_or_auto() -> None:
    assert read_settings().inner.group == "auto"
    assert read_settings(overrides={"inner.group": "7"}).inner.group == 7
    for wrong in ("0", "many"):
        with pytest.raises(UsageError, match=r"inner\.group"):
            read_settings(overrides={"inner.group": wrong})


def test_memory_left_in_a_container(tmp_path, monkeypatch) -> None:
    from selfedit.lm import memory

    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    assert memory._container()[1] > 2**40
    for name, text in (
        ("max", "1000"),
        ("current", "700"),
        ("stat", "anon 1\ninactive_file 200\n"),
    ):
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory._container() == (1000, 500)
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._container()[1] > 2**40
