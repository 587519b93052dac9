"""All adapters as one wide product: the same as one by one, and no adapter touches another's tokens."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from selfedit.lm import generate as decoding
from selfedit.lm.bank import AdapterBank
from selfedit.lm.generate import generate
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.lm.thin import Thin, fits

OWNERS = [0, 2, -1, 1, 1, 0, 2, -1]
SPECS = [
    LoraSpec(rank=4, alpha=8, targets=("q_proj", "down_proj")),
    LoraSpec(rank=2, alpha=32, targets=("q_proj", "v_proj")),
    LoraSpec(rank=3, alpha=3, targets=("v_proj", "down_proj")),
]


@pytest.fixture(scope="module")
def lm(small_folder) -> LanguageModel:
    return load(str(small_folder), device="cpu", dtype="float64")


@pytest.fixture
def adapters(lm: LanguageModel) -> list[Adapter]:
    """Three adapters of different rank, scale and modules, none of them zero."""
    generator = torch.Generator().manual_seed(3)
    found = []
    for spec in SPECS:
        bank = AdapterBank(lm.model, [spec], train=True)
        bank.initialise(0, seed=spec.rank)
        for name, slot in bank.slots.items():
            if name.rsplit(".", 1)[-1] in spec.targets:
                slot.b.copy_(torch.randn(slot.b.shape, generator=generator))
        found.append(Adapter(spec, bank.take(0), lm.name, [], 0))
    return found


def filled(lm: LanguageModel, adapters: list[Adapter]) -> AdapterBank:
    bank = AdapterBank(lm.model, SPECS)
    for k, adapter in enumerate(adapters):
        bank.put(k, adapter)
    return bank


def test_every_token_gets_its_own_adapter_alone(lm: LanguageModel, adapters: list[Adapter]) -> None:
    bank = filled(lm, adapters)
    x = torch.randn(len(OWNERS), 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    seen = 0
    for name, module in bank.modules.items():
        inputs = x if module.in_features == 64 else x.repeat(1, 3)[:, : module.in_features]
        expected = F.linear(inputs, module.weight)
        for row, owner in enumerate(OWNERS):
            if owner >= 0 and name in adapters[owner].tensors:
                a, b = adapters[owner].tensors[name]
                expected[row] += SPECS[owner].alpha / SPECS[owner].rank * (b @ (a @ inputs[row]))
                seen += 1
        with bank.attached(), torch.inference_mode():
            bank.assign(Thin(bank, OWNERS))
            torch.testing.assert_close(module(inputs), expected)
    assert seen > 10


def test_answers_are_those_of_batched_products(
    lm: LanguageModel, adapters: list[Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [[3 + n, 9, 7 + n, 5] for n in range(12)]
    chosen = [[*adapters, None][n % 4] for n in range(12)]
    thin = generate(lm, prompts, chosen, max_new_tokens=12)
    monkeypatch.setattr(decoding, "fits", lambda bank: False)
    assert generate(lm, prompts, chosen, max_new_tokens=12) == thin
    assert len({answer.ids for answer in thin}) > 6


def test_a_broken_adapter_spoils_no_others_answer(lm: LanguageModel, adapters: list[Adapter]) -> None:
    prompts = [[3, 9, 7, 5], [4, 9, 8, 5]]
    alone = generate(lm, prompts[:1], adapters[:1], max_new_tokens=8)
    for _, b in adapters[1].tensors.values():
        b.fill_(float("nan"))
    assert not fits(filled(lm, adapters))
    assert generate(lm, prompts, adapters[:2], max_new_tokens=8)[0] == alone[0]


def test_a_bank_too_wide_takes_batched_products(lm: LanguageModel) -> None:
    assert fits(AdapterBank(lm.model, [LoraSpec(rank=64, alpha=1, targets=("q_proj",))] * 8))
    assert not fits(AdapterBank(lm.model, [LoraSpec(rank=64, alpha=1, targets=("q_proj",))] * 9))
