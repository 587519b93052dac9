"""A step of many adapters is as many operations as one of few, and never waits for a number."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from test_adapt import sequence
from torch.utils._python_dispatch import TorchDispatchMode

from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.inner.packed import PackedSteps
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import LoraSpec


class Operations(TorchDispatchMode):
    """Counts what is dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


def counted_steps(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch, jobs: list[AdaptJob]
) -> list[Counter[str]]:
    steps: list[Counter[str]] = []
    run = PackedSteps.run

    def counted(self: PackedSteps, number: int) -> None:
        with Operations() as operations:
            run(self, number)
        steps.append(operations.counts)

    with monkeypatch.context() as patched:
        patched.setattr(PackedSteps, "run", counted)
        adapt(lm, jobs)
    return steps


def unlike_jobs(count: int, targets: tuple[str, ...]) -> list[AdaptJob]:
    """Six lines and a passage each, of unlike lengths, with data orders of their own."""
    random = torch.Generator().manual_seed(count)
    jobs = []
    for k in range(count):
        lengths = [*torch.randint(8, 40, (6,), generator=random).tolist(), 90 + 3 * (k % 9)]
        data = [sequence(100 * k + n, length) for n, length in enumerate(lengths)]
        jobs.append(AdaptJob(data, LoraSpec(4, 8, targets), OptimSpec(epochs=1), seed=k))
    return jobs


@pytest.mark.parametrize(
    "targets", [("q_proj", "v_proj"), ("q_proj", "o_proj", "up_proj", "down_proj")]
)
def test_more_adapters_are_not_more_operations(
    small64: LanguageModel, monkeypatch: pytest.MonkeyPatch, targets: tuple[str, ...]
) -> None:
    totals = {}
    for count in (8, 32):
        steps = counted_steps(small64, monkeypatch, unlike_jobs(count, targets))
        totals[count] = sum(sum(step.values()) for step in steps) / len(steps)
    assert totals[32] == pytest.approx(totals[8], rel=0.1)


def test_no_step_waits_for_a_number(
    small64: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = counted_steps(small64, monkeypatch, unlike_jobs(4, ("q_proj", "v_proj")))
    assert len(steps) == 7
    assert sum(step["aten._local_scalar_dense.default"] for step in steps) == 0
    assert all(step["aten.mm.default"] for step in steps)  # the counter counts
