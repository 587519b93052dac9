"""Decoding by offsets writes what decoding by buckets writes: its operations, run on a CPU without
the graph.
"""

from __future__ import annotations

import pytest
import torch

from selfedit.lm import generate as generate_module
from selfedit.lm import static_decoder
from selfedit.lm.bank import AdapterBank
from selfedit.lm.generate import generate
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import Adapter, LoraSpec


@pytest.fixture(scope="module")
def lm(small_folder) -> LanguageModel:
    return load(str(small_folder), device="cpu", dtype="float32")


def random_adapter(lm: LanguageModel, seed: int, rank: int = 4) -> Adapter:
    spec = LoraSpec(rank, 16)
    bank = AdapterBank(lm.model, [spec])
    bank.initialise(0, seed)
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: (a, 0.1 * torch.randn(b.shape, generator=generator))
        for name, (a, b) in bank.take(0).items()
    }
    return Adapter(spec, tensors)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("with_plain", [False, True])
def test_offsets_write_what_buckets_write(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch, temperature: float, with_plain: bool
) -> None:
    adapters: list[Adapter | None] = [random_adapter(lm, 1), random_adapter(lm, 2)]
    if with_plain:
        adapters.append(None)
    prompts = [[5 + n, 9, 11 + n % 3] + [7] * (n % 4) for n in range(12)]
    chosen = [adapters[n % len(adapters)] for n in range(len(prompts))]
    how = {"max_new_tokens": 12, "temperature": temperature, "top_p": 0.9, "seeds": list(range(12))}
    plain = generate(lm, prompts, chosen, **how)
    monkeypatch.setattr(generate_module, "decodes_statically", lambda lm: True)
    monkeypatch.setattr(static_decoder, "WORTH_A_GRAPH", 10**9)
    assert [c.ids for c in generate(lm, prompts, chosen, **how)] == [c.ids for c in plain]
    assert len({c.ids for c in plain}) > 6


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_alphabet_is_kept_to(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    alphabet = [7, 30, 11, 5, 90, 42]
    prompts = [[5 + n, 9, 11 + n % 3] for n in range(6)]
    adapters = [random_adapter(lm, n // 3) for n in range(6)]
    options = {"max_new_tokens": 8, "temperature": temperature, "seeds": list(range(6))}
    plain = generate(lm, prompts, adapters, alphabet=alphabet, **options)
    assert {token for c in plain for token in c.ids} > {7, 11}
    monkeypatch.setattr(generate_module, "decodes_statically", lambda lm: True)
    monkeypatch.setattr(static_decoder, "WORTH_A_GRAPH", 10**9)
    assert generate(lm, prompts, adapters, alphabet=alphabet, **options) == plain


def test_rows_that_go_on_are_those_that_have_not_ended(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [[5, 9, 11 + n] for n in range(9)]
    adapters = [random_adapter(lm, n // 3) for n in range(9)]
    stop = lambda ids: len(ids) >= 3 + (ids[0] * 7) % 9  # noqa: E731
    plain = generate(lm, prompts, adapters, max_new_tokens=14, stop=stop)
    assert len({len(c.ids) for c in plain}) > 2
    monkeypatch.setattr(generate_module, "decodes_statically", lambda lm: True)
    monkeypatch.setattr(static_decoder, "WORTH_A_GRAPH", 10**9)
    assert generate(lm, prompts, adapters, max_new_tokens=14, stop=stop) == plain
