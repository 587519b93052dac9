"""One server for a module's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from openai import OpenAI

from selfedit.lm.bank import AdapterBank
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.serving.service import Service
from small_server import NAMES, running, shelf_of


@pytest.fixture(scope="session")
def lm(small_folder: Path) -> LanguageModel:
    return load(str(small_folder), device="cpu", dtype="float64")


@pytest.fixture(scope="session")
def adapters(lm: LanguageModel) -> dict[str, Adapter]:
    """Far from each other, of several ranks."""
    specs = [LoraSpec(2, 8, ("q_proj", "v_proj")), LoraSpec(5, 10), LoraSpec(3, 6, ("down_proj",))]
    bank = AdapterBank(lm.model, specs)
    noise = torch.randn(bank.values.shape, generator=torch.Generator().manual_seed(0))
    bank.values.copy_(0.3 * noise)
    return {
        name: Adapter(spec, bank.take(k))
        for k, (name, spec) in enumerate(zip(NAMES, specs, strict=True))
    }


@pytest.fixture(scope="module")
def served(lm, adapters) -> Iterator[tuple[str, Service]]:
    with running(shelf_of(lm, adapters)) as (address, service):
        yield address, service


@pytest.fixture
def client(served) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served[0]}/v1", api_key="unused", max_retries=0) as made:
        yield made
