"""A training that is stopped or killed goes on from its checkpoint and ends in the same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selfedit.errors import Interrupted, ModelFileError
from selfedit.inner.adapt import adapt
from selfedit.inner.checkpoint import Checkpoint
from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.inner.packed import PackedSteps
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter, LoraSpec

SPEC = LoraSpec(2, 8, ("q_proj", "v_proj"))
OPTIM = OptimSpec(lr=0.02, epochs=3, batch_size=1, weight_decay=0.1, clip=0.5)
JOB = AdaptJob([f"Part {n} of a text that is learned." for n in range(4)], SPEC, OPTIM, 7)


class Killed(Exception):
    """The process is gone: nobody writes anything any more."""


def _equal(one: Adapter, other: Adapter) -> bool:
    return (one.losses, one.tokens) == (other.losses, other.tokens) and all(
        torch.equal(a, b)
        for name in one.tensors
        for a, b in zip(one.tensors[name], other.tensors[name], strict=True)
    )


@pytest.fixture
def run_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the steps that were computed."""
    numbers: list[int] = []
    run = PackedSteps.run

    def counted(self: PackedSteps, number: int) -> None:
        numbers.append(number)
        run(self, number)

    monkeypatch.setattr(PackedSteps, "run", counted)
    return numbers


def _stopped(
    lm: LanguageModel,
    jobs: list[AdaptJob],
    kept: Checkpoint,
    error: type,
    steps: int,
    rows: int | None = None,
) -> None:
    looks = 0

    def on_step(done: int, total: int) -> None:
        nonlocal looks
        looks += 1
        if looks == steps:
            raise error("stop")

    with pytest.raises(error):
        adapt(lm, jobs, on_step, checkpoint=kept, rows=rows)


@pytest.mark.parametrize(
    ("error", "seconds"), [(Interrupted, 1e9), (Killed, 0.0)], ids=["stopped", "killed"]
)
@pytest.mark.parametrize("kind", ["plain", "dropout", "on top, outside of another"])
def test_it_goes_on_where_it_was(
    tiny_lm: LanguageModel, tmp_path: Path, run_steps: list[int], error, seconds: float, kind: str
) -> None:
    job = JOB
    if kind == "dropout":
        job = replace(JOB, lora=replace(SPEC, dropout=0.2))
    elif kind != "plain":
        first = adapt(tiny_lm, [replace(JOB, seed=8)])[0]
        job = replace(JOB, start=first, outside=first)
    whole = adapt(tiny_lm, [job])[0]
    run_steps.clear()
    for steps in (3, 8):  # looks at progress, those at steps done before included
        kept = Checkpoint(tmp_path / "state", "key", seconds)
        _stopped(tiny_lm, [job], kept, error, steps)
    again = adapt(tiny_lm, [job], checkpoint=Checkpoint(tmp_path / "state", "key", seconds))[0]
    assert _equal(again, whole)
    # What was computed since the last state is lost to a kill, and to nothing else.
    lost = 0 if error is Interrupted else 2
    assert len(run_steps) == len(whole.losses) + lost


@pytest.mark.parametrize(
    ("error", "seconds"), [(Interrupted, 1e9), (Killed, 0.0)], ids=["stopped", "killed"]
)
@pytest.mark.parametrize("rows", [4, 2], ids=["all at once", "rows change hands"])
@pytest.mark.parametrize("threads", [1, 2])
def test_several_jobs_go_on_where_they_were(
    tiny_lm: LanguageModel, tmp_path: Path, run_steps: list[int], error, seconds, rows, threads
) -> None:
    """Adapters that had finished are not trained again, those under way go on, also in two banks."""
    # Long enough for two banks to pay, and of unequal length: some finish long before others.
    jobs = [
        replace(
            JOB,
            sequences=[f"Part {n} of text {k}. " * 40 for n in range(2 + k)],
            optim=replace(OPTIM, epochs=1 + k % 2),
            seed=k,
        )
        for k in range(4)
    ]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        whole = adapt(tiny_lm, jobs, rows=rows)
        steps = len(run_steps)
        run_steps.clear()
        path = tmp_path / "state.safetensors"
        for looks in (2, 8):
            kept = Checkpoint(path, "key", seconds)
            _stopped(tiny_lm, jobs, kept, error, looks, rows)
        states = list(tmp_path.iterdir())
        assert len(states) == threads, "a state for every bank"
        again = adapt(tiny_lm, jobs, rows=rows, checkpoint=Checkpoint(path, "key", seconds))
        assert all(_equal(one, other) for one, other in zip(again, whole, strict=True))
        assert len(run_steps) <= steps + (0 if error is Interrupted else 2 * threads)
        Checkpoint(path, "key").remove()
        assert not list(tmp_path.iterdir())
    finally:
        torch.set_num_threads(before)


def test_a_damaged_state_or_another_trainings_is_refused(
    tiny_lm: LanguageModel, tmp_path: Path
) -> None:
    path = tmp_path / "state"
    _stopped(tiny_lm, [JOB], Checkpoint(path, "key"), Interrupted, 2)
    data = path.read_bytes()
    for changed, key in (
        (data, "other"),
        (data[:-3] + bytes([data[-3] ^ 1]) + data[-2:], "key"),
        (data[:1000], "key"),
        (b"", "key"),
    ):
        path.write_bytes(changed)
        with pytest.raises(ModelFileError, match="cannot be gone on with"):
            adapt(tiny_lm, [JOB], checkpoint=Checkpoint(path, key))
