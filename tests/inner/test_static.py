"""Steps of static shapes give the adapters that steps of any shape give: their operations, run on a
CPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from test_adapt import sequence
from torch import Tensor
from torch.nn import functional as F

from selfedit.inner import group_loop, static
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.lm.attention import Scoring
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import ALL_LINEAR, LoraSpec


class AttentionByOffsets:
    """What the GPU's kernel computes, sequence after sequence."""

    def __init__(self, ends: Tensor, longest: int) -> None:
        self.spans = list(zip(ends.tolist()[:-1], ends.tolist()[1:], strict=True))
        assert all(0 <= end - start <= longest for start, end in self.spans)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scoring: Scoring) -> Tensor:
        parts = []
        for start, end in self.spans:
            if end > start:
                heads = (t[start:end].transpose(0, 1)[None] for t in (q, k, v))
                out = F.scaled_dot_product_attention(
                    *heads, is_causal=True, scale=scoring.scale, enable_gqa=True
                )
                parts.append(out[0].transpose(0, 1))
        return torch.cat(parts)


def adamw_reference(
    values: Tensor,
    grads: Tensor,
    first: Tensor,
    second: Tensor,
    computed: Tensor,
    norms: Tensor,
    table: Tensor,
) -> None:
    for k, row in enumerate(table.tolist()):
        active, rate, left1, left2, decay, eps, clip, beta1, rest1, beta2, rest2 = row
        if active:
            g = grads[k] * min(clip / (float(norms[k]) + 1e-6), 1.0)
            first[k] = beta1 * first[k] + rest1 * g
            second[k] = beta2 * second[k] + rest2 * g * g
            step = rate / left1 * first[k] / (second[k].sqrt() / left2 + eps)
            values[k] = values[k] * (1 - rate * decay) - step
    computed.copy_(values)


@pytest.fixture
def by_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = ModuleType("kernel")
    kernel.adamw_kernel = adamw_reference
    monkeypatch.setitem(sys.modules, "selfedit.inner.adamw_kernel", kernel)
    monkeypatch.setattr(static, "Ragged", AttentionByOffsets)
    monkeypatch.setattr(static, "SMALLEST", 8)
    monkeypatch.setattr(group_loop, "can_be_static", lambda lm, jobs: True)


@pytest.fixture(scope="module")
def small32(small_folder) -> LanguageModel:
    return load(str(small_folder), device="cpu", dtype="float32")


def jobs() -> list[AdaptJob]:
    plain = OptimSpec(lr=1e-3, epochs=2)
    return [
        AdaptJob(
            [sequence(1, 9), sequence(2, 25), sequence(3, 12, loss_from=4)],
            LoraSpec(8, 16),
            plain,
            seed=1,
        ),
        AdaptJob(
            [sequence(4, 7), sequence(5, 14)], LoraSpec(4, 8, ("q_proj", "v_proj")), plain, seed=2
        ),
        AdaptJob(
            [sequence(6, 5)],
            LoraSpec(2, 8),
            replace(plain, epochs=5, clip=None, weight_decay=0.1),
            seed=3,
        ),
        AdaptJob(
            [sequence(7, 11), sequence(8, 6)], LoraSpec(8, 8), replace(plain, batch_size=2), seed=4
        ),
        AdaptJob(
            [sequence(9, 8)],
            LoraSpec(8, 8),
            replace(plain, schedule="cosine", warmup_steps=1),
            seed=5,
        ),
    ]


@pytest.mark.usefixtures("by_offsets")
@pytest.mark.parametrize("rows", [1, 2, 3, 5])
@pytest.mark.parametrize("layers", [None, (1,)])
def test_static_steps_train_what_other_steps_train(
    small32: LanguageModel,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    layers: tuple[int, ...] | None,
) -> None:
    made = [replace(job, lora=replace(job.lora, layers=layers)) for job in jobs()]
    ours = adapt(small32, made, rows=rows)
    monkeypatch.setattr(group_loop, "can_be_static", lambda lm, jobs: False)
    for adapter, job in zip(ours, made, strict=True):
        (alone,) = adapt(small32, [job])
        assert adapter.losses == pytest.approx(alone.losses, rel=1e-4)
        assert set(adapter.tensors) == set(alone.tensors)
        for name, (a, b) in alone.tensors.items():
            torch.testing.assert_close(adapter.tensors[name][0], a, rtol=1e-3, atol=2e-5)
            torch.testing.assert_close(adapter.tensors[name][1], b, rtol=1e-3, atol=2e-5)


@pytest.mark.usefixtures("by_offsets")
def test_static_steps_start_on_top_of_frozen_adapters(
    small32: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = adapt(
        small32,
        [AdaptJob([sequence(3, 9)], LoraSpec(4, 9, ALL_LINEAR), OptimSpec(lr=1e-2), seed=9)],
    )[0]
    every = LoraSpec(4, 8, ALL_LINEAR)
    made = [
        replace(job, lora=every, start=below if n % 2 else None) for n, job in enumerate(jobs())
    ]
    ours = adapt(small32, made, rows=2)
    monkeypatch.setattr(group_loop, "can_be_static", lambda lm, jobs: False)
    for adapter, job in zip(ours, made, strict=True):
        assert adapter.losses == pytest.approx(adapt(small32, [job])[0].losses, rel=1e-4)


def test_the_kernel_is_torchs_adamw() -> None:
    """The kernel itself, interpreted on the CPU, against one torch.optim.AdamW a row."""
    pytest.importorskip("triton", reason="Triton comes with torch's CUDA builds on Linux")
    script = """
import torch
from selfedit.inner.adamw_kernel import adamw_kernel
from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.inner.optimiser import hyper_table
from selfedit.inner.plan import Turn
rows, count = 3, 1500
torch.manual_seed(0)
specs = [OptimSpec(lr=1e-2, epochs=8, clip=0.5), OptimSpec(lr=1e-3, epochs=8, clip=None, weight_decay=0.1),
         OptimSpec(lr=5e-3, epochs=9, betas=(0.8, 0.95), eps=1e-6)]
jobs = [AdaptJob(["x"], optim=spec) for spec in specs]
values = torch.randn(rows, count)
kept = [torch.nn.Parameter(row.clone()) for row in values]
adams = [torch.optim.AdamW([p], s.lr, s.betas, s.eps, s.weight_decay) for p, s in zip(kept, specs)]
first, second, computed = torch.zeros_like(values), torch.zeros_like(values), values.to(torch.bfloat16)
for step in range(5):
    grads = torch.randn(rows, count)
    active = [0, 1, 2] if step != 3 else [0, 2]
    numbers = {k: step - 1 if k == 1 and step > 3 else step for k in active}
    table = torch.from_numpy(hyper_table(jobs, [Turn(k, k, n, ()) for k, n in numbers.items()], rows))
    adamw_kernel(values, grads, first, second, computed, grads.norm(dim=1), table)
    for k in active:
        kept[k].grad = grads[k].clone()
        if specs[k].clip is not None:
            torch.nn.utils.clip_grad_norm_([kept[k]], specs[k].clip)
        adams[k].param_groups[0]["lr"] = specs[k].rate(numbers[k], jobs[k].steps)
        adams[k].step()
theirs = torch.stack([p.detach() for p in kept])
assert torch.allclose(values, theirs, rtol=1e-6, atol=1e-6), (values - theirs).abs().max()
assert torch.allclose(computed.float(), values, rtol=2**-7)  # the interpreter cuts off where a GPU rounds
"""
    interpreted = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, env=interpreted, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
