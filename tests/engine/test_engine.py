"""Inner loops in worker processes: the same numbers as here, and nothing hangs when a worker dies."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from selfedit.config import Settings
from selfedit.engine.base import Engine, TrialBatch
from selfedit.engine.local import LocalEngine
from selfedit.engine.processes import Processes, worker_count
from selfedit.errors import Interrupted, SelfEditError, Unavailable
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import LoraSpec
from selfedit.rl.policy import merge, save_policy
from selfedit.run.interrupt import SIGNALS
from selfedit.sampling.local import LocalSampler
from selfedit.sampling.shared import SharedSampler
from tiny_run import session_in, tiny_settings

pytestmark = pytest.mark.slow


@pytest.fixture
def lm(tiny_folder: Path) -> LanguageModel:
    return load(str(tiny_folder))


@pytest.fixture
def workers(tiny_folder: Path) -> Iterator[Processes]:
    engine = Processes(2, str(tiny_folder), "cpu", "float32")
    yield engine
    engine.close()


def works(lm: LanguageModel, count: int = 3) -> list[TrialBatch]:
    spec, optim = LoraSpec(2, 8, ("q_proj",)), OptimSpec(lr=0.01, epochs=2)
    prompt = lm.encode("Who lit it?")
    return [
        TrialBatch(
            tuple(AdaptJob([f"The tower {n} {k}."], spec, optim, 10 * n + k) for k in range(2)),
            ((prompt,),) * 2,
            4,
        )
        for n in range(count)
    ]


def finished(engine: Engine, given: list[TrialBatch]) -> dict[int, list[tuple]]:
    told: list[int] = []
    found = dict(engine.run(given, told.append, lambda: None))
    assert sum(told) == sum(loop.tokens for done in found.values() for loop in done.loops)
    return {n: [(loop.losses, loop.answers) for loop in done.loops] for n, done in found.items()}


def short(made: Sequence[int]) -> bool:
    """An end of its own; a function of a module, for it is sent to workers."""
    return len(made) == 2


def test_alphabets_and_ends_reach_the_workers(lm: LanguageModel, workers: Processes) -> None:
    given = [replace(work, alphabet=(40, 41, 42), stop=short) for work in works(lm, 1)]
    for loops in finished(workers, given).values():
        for _, answers in loops:
            assert all(
                len(a.ids) == 2 and set(a.ids) <= {40, 41, 42} and a.finish == "stop"
                for a in answers
            )


def test_workers_give_what_this_process_gives(lm: LanguageModel, workers: Processes) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    try:
        given = works(lm)
        assert finished(workers, given) == finished(LocalEngine(lm), given)
    finally:
        torch.set_num_threads(threads)


def test_workers_load_a_merged_policy(
    lm: LanguageModel, workers: Processes, tmp_path: Path
) -> None:
    before = finished(workers, works(lm, 1))
    strong = AdaptJob(["Something else."], LoraSpec(4, 64), OptimSpec(lr=0.05, epochs=3), 1)
    adapter = adapt(lm, [strong])[0]
    merge(lm, adapter)
    save_policy(lm, adapter, tmp_path / "round-1", merged=True)
    workers.load_weights(tmp_path / "round-1" / "model")
    after = finished(workers, works(lm, 1))
    assert after != before
    assert after[0][0][0] == pytest.approx(
        finished(LocalEngine(lm), works(lm, 1))[0][0][0], rel=1e-5
    )


def test_writing_and_reading_are_shared_out(lm: LanguageModel, workers: Processes) -> None:
    """The same texts and losses as here, in the order they were asked for, from both workers."""
    spec = LoraSpec(4, 64)
    adapter = adapt(lm, [AdaptJob(["Something else."], spec, OptimSpec(lr=0.05, epochs=3), 1)])[0]
    prompts = [lm.encode(f"Tower {n // 2}, who lit it?") for n in range(20)]
    under = [None if n % 3 else adapter for n in range(20)]
    local = LocalSampler(lm, Settings())
    counts: list[int] = []
    shared = SharedSampler(Counted(workers, counts), local)
    how: dict[str, Any] = {"max_new_tokens": 5, "temperature": 0.8, "seeds": list(range(20))}
    assert shared.generate(prompts, under, **how) == local.generate(prompts, under, **how)
    golds = [(ids, (False, *[True] * (len(ids) - 1))) for ids in prompts]
    expected = local.log_probabilities(golds, under)
    assert shared.log_probabilities(golds, under) == pytest.approx(expected, abs=1e-5)
    assert counts == [2, 2]
    few = shared.generate(prompts[:4], under[:4], **{**how, "seeds": [0, 1, 2, 3]})
    assert few == local.generate(prompts[:4], under[:4], **{**how, "seeds": [0, 1, 2, 3]})
    assert counts == [2, 2]  # too few to be worth it


class Counted:
    """An engine that notes into how many pieces work was cut."""

    def __init__(self, engine: Processes, counts: list[int]) -> None:
        self.workers, self._engine, self._counts = engine.workers, engine, counts

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._engine, name)
        return lambda works: self._counts.append(len(works)) or method(works)


def test_a_run_with_workers_shares_its_writing(small_folder: Path, tmp_path: Path) -> None:
    """The session gives the workers what its sampler is asked for; one's own sampler stays."""
    settings = tiny_settings(workers=2)
    engine = Processes(2, str(small_folder), "cpu", "float32")
    try:
        lm = load(str(small_folder), device="cpu")
        session = replace(session_in(tmp_path / "run", lm, settings), engine=engine, sampler=None)
        assert isinstance(session.sampler, SharedSampler)
        session.run.close()
    finally:
        engine.close()


def test_auto_is_a_worker_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_settings(workers="auto")
    assert worker_count(settings) == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert worker_count(tiny_settings(workers="auto", device="auto")) == 4
    assert worker_count(tiny_settings(workers="auto", device="cpu")) == 1
    assert worker_count(tiny_settings(workers=3)) == 3


def test_a_dead_worker_is_an_error_that_says_so(lm: LanguageModel, workers: Processes) -> None:
    results = workers.run(works(lm, 6), lambda _: None, lambda: None)
    next(results)
    for worker in workers._children.processes:
        worker.kill()
    with pytest.raises(Unavailable, match="a worker process died"):
        list(results)


def test_an_error_of_a_worker_reaches_the_caller(lm: LanguageModel, workers: Processes) -> None:
    bad = TrialBatch((AdaptJob([], LoraSpec(2, 8, ("q_proj",))),), ((),), 4)
    with pytest.raises(SelfEditError, match="nothing to train on"):
        list(workers.run([bad], lambda _: None, lambda: None))


def test_asked_to_stop_it_finishes_what_is_in_hand(lm: LanguageModel, workers: Processes) -> None:
    finished: list[int] = []

    def stop() -> None:
        if finished:
            raise Interrupted("stopped")

    running = list(workers._children.processes)
    with pytest.raises(Interrupted):
        for index, _ in workers.run(works(lm, 8), lambda _: None, stop):
            finished.append(index)
    # Two workers: when the first group was done, the other had one in hand; no third was given out
    # after the wish.
    assert len(finished) in (2, 3)
    assert not any(worker.is_alive() for worker in running)


def test_signals_to_the_whole_group_leave_the_workers_to_the_run(
    lm: LanguageModel, tiny_folder: Path
) -> None:
    engine = Processes(2, str(tiny_folder), "cpu", "float32")
    given = works(lm)
    try:
        for moment in ("while they start", "while they wait"):
            for worker in engine._children.processes:
                assert worker.pid is not None
                for number in SIGNALS:
                    os.kill(worker.pid, number)
            assert len(dict(engine.run(given, lambda _: None, lambda: None))) == 3, moment
    finally:
        engine.close()
