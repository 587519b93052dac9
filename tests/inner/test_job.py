"""A job's settings: refused where they make no sense; schedules as transformers has them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import get_scheduler

from benchmarks.careful import SCHEDULERS
from selfedit.errors import UsageError
from selfedit.inner.job import OptimSpec, Schedule
from selfedit.lm.lora import LoraSpec

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize(("warmup", "total"), [(0, 1), (0, 7), (3, 7), (7, 7), (11, 7)])
def test_rates_are_transformers_schedules(schedule: Schedule, warmup: int, total: int) -> None:
    optim = OptimSpec(lr=0.5, schedule=schedule, warmup_steps=warmup)
    adam = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    theirs = get_scheduler(SCHEDULERS[schedule], adam, warmup, total)
    for step in range(total):
        assert optim.rate(step, total) == pytest.approx(adam.param_groups[0]["lr"], abs=1e-12)
        adam.step()
        theirs.step()


@pytest.mark.parametrize(
    "wrong",
    [
        *({"lr": value} for value in (0, -1, NAN, INF)),
        *({name: 0} for name in ("epochs", "batch_size")),
        *({"clip": value} for value in (0.0, -1.0, NAN)),
        *({"warmup_steps": -1}, {"weight_decay": -0.1}, {"weight_decay": NAN}),
        *({"schedule": "cosin"}, {"betas": (0.9, 1.0)}, {"betas": (0.9,)}, {"eps": 0.0}),
    ],
)
def test_senseless_optimiser_settings_are_usage_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="optim"):
        OptimSpec(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"rank": value} for value in (0, -1, 2.5)),
        *({"alpha": value} for value in (0, -1, NAN, INF)),
        *({"dropout": value} for value in (-0.1, 1.0, NAN)),
        {"targets": ()},
    ],
)
def test_senseless_adapter_settings_are_usage_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"lora\."):
        LoraSpec(**wrong)


def test_one_target_may_be_a_plain_name() -> None:
    assert LoraSpec(targets="q_proj").targets == ("q_proj",)  # pyright: ignore[reportArgumentType]
