"""On a GPU: graphs, grouped products and the kernel train and write what padded blocks do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_adapt import sequence

from benchmarks.gpu import PUBLISHED, gpu_jobs
from benchmarks.random_model import random_model
from selfedit.inner import group_loop, static
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob
from selfedit.lm import generate as generate_module
from selfedit.lm.generate import generate
from selfedit.lm.load import LanguageModel

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return random_model("smollm2-135m", torch.device("cuda"), torch.bfloat16)


def test_graphs_train_what_padded_blocks_train(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = gpu_jobs(6, PUBLISHED, 4, 49152)
    captured: list[bool] = []
    pays = static.StaticSteps._pays
    monkeypatch.setattr(
        static.StaticSteps,
        "_pays",
        lambda self, runs: captured.append(pays(self, runs)) or captured[-1],
    )
    ours = adapt(lm, jobs, rows=4)
    assert any(captured)
    monkeypatch.setattr(group_loop, "can_be_static", lambda lm, jobs: False)
    for adapter, blocks in zip(ours, adapt(lm, jobs), strict=True):
        assert adapter.losses[0] == pytest.approx(blocks.losses[0], rel=2e-3)
        assert sum(adapter.losses[-8:]) == pytest.approx(sum(blocks.losses[-8:]), rel=2e-2)


def test_the_same_seed_twice_is_the_same_bytes(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With deterministic kernels, as ``load(deterministic=True)`` asks for them: long sequences
    too.
    """
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random = torch.Generator().manual_seed(1)
    long = [sequence(n, int(torch.randint(400, 700, (), generator=random))) for n in range(5)]
    jobs = [
        replace(job, sequences=[long[n], *job.sequences])
        for n, job in enumerate(gpu_jobs(5, PUBLISHED, 2, 300))
    ]
    torch.use_deterministic_algorithms(True)
    try:
        same_bytes(lm, jobs)
    finally:
        torch.use_deterministic_algorithms(False)


def same_bytes(lm: LanguageModel, jobs: list[AdaptJob]) -> None:
    first, second = adapt(lm, jobs), adapt(lm, jobs)
    assert [a.losses for a in first] == [a.losses for a in second]
    for one, other in zip(first, second, strict=True):
        assert all(
            torch.equal(one.tensors[name][1], other.tensors[name][1]) for name in one.tensors
        )


def test_graphs_write_what_single_passes_write(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = adapt(
        lm, [replace(job, sequences=job.sequences[:2]) for job in gpu_jobs(4, PUBLISHED, 3, 49152)]
    )
    prompts = [list(range(5 + n, 25 + n)) for n in range(20)]
    chosen = [None if n % 5 == 0 else trained[n % 4] for n in range(20)]
    fast = generate(lm, prompts, chosen, max_new_tokens=12)
    monkeypatch.setattr(generate_module, "decodes_statically", lambda lm: False)
    plain = generate(lm, prompts, chosen, max_new_tokens=12)
    same = sum(a.ids[:4] == b.ids[:4] for a, b in zip(fast, plain, strict=True))
    assert same >= 16  # in bfloat16 two likely tokens may change places


def test_memory_that_runs_out_halves_the_group(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, heard = gpu_jobs(4, PUBLISHED, 1, 49152), []
    run = static.StaticSteps.run

    def short_of_memory(self: static.StaticSteps, number: int) -> None:
        if len(self.training.bank.values) > 2:
            torch.empty(2**50, dtype=torch.uint8, device="cuda")
        run(self, number)

    monkeypatch.setattr(static.StaticSteps, "run", short_of_memory)
    adapters = adapt(lm, jobs, on_halved=heard.append)
    assert heard == [2]
    assert all(
        len(adapter.losses) == job.steps for adapter, job in zip(adapters, jobs, strict=True)
    )
