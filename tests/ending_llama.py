"""A small model whose texts end at different times, and adapters that change what it says."""

from __future__ import annotations

from pathlib import Path

import torch

from selfedit.lm.bank import AdapterBank
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter, LoraSpec
from tiny_llama import made_tokenizer, tiny_llama


def write_ending_model(path: Path, every: int) -> Path:
    """A small vocabulary, of which one token in so many ends a text."""
    tokenizer = made_tokenizer()
    tokenizer.save_pretrained(path)
    model = tiny_llama(len(tokenizer), seed=6)
    assert model.generation_config is not None
    model.generation_config.eos_token_id = list(range(2, 360, every))
    model.save_pretrained(path)
    return path


def noisy_adapters(lm: LanguageModel) -> list[Adapter]:
    """Of different ranks and modules: the later ones have no room in a bank of the first."""
    specs = [LoraSpec(2, 8, ("q_proj", "v_proj")), LoraSpec(5, 10), LoraSpec(3, 6, ("down_proj",))]
    bank = AdapterBank(lm.model, specs)
    noise = torch.randn(bank.values.shape, generator=torch.Generator().manual_seed(0))
    bank.values.copy_(0.3 * noise)
    return [Adapter(spec, bank.take(k)) for k, spec in enumerate(specs)]
