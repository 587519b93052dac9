"""A model of a real one's shape with random weights, made on the device: speed depends on the shape
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from selfedit.errors import UsageError
from selfedit.lm.attention import NAME as ATTENTION
from selfedit.lm.bank import install
from selfedit.lm.block import install_blocks
from selfedit.lm.families import is_known
from selfedit.lm.load import LanguageModel

SHAPES: dict[str, PreTrainedConfig] = {
    "qwen2.5-7b": Qwen2Config(
        vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28,
        num_key_value_heads=4, max_position_embeddings=32768, tie_word_embeddings=False,
    ),
    "llama-3.2-1b": LlamaConfig(
        vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
        num_key_value_heads=8, head_dim=64, max_position_embeddings=32768, tie_word_embeddings=True,
    ),
    "smollm2-135m": LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=8192, tie_word_embeddings=True,
    ),
}  # fmt: skip
"""Shapes by name, from the models' published configurations."""


def random_config(name: str) -> PreTrainedConfig:
    """The configuration of a shape by name, or of a ``config.json``."""
    if name in SHAPES:
        return SHAPES[name]
    if not Path(name).is_file():
        raise UsageError(
            f"there is no shape {name!r}",
            where="--random",
            fix=f"use {', '.join(SHAPES)} or a config.json",
        )
    return AutoConfig.from_pretrained(name, trust_remote_code=False, local_files_only=True)


def plain_random_model(name: str, device: torch.device, dtype: torch.dtype, seed: int = 0) -> Any:
    """transformers' own model of this shape with random weights, frozen."""
    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(
            random_config(name), dtype=dtype, attn_implementation="sdpa"
        )
    return model.eval().requires_grad_(False)


def random_model(
    name: str, device: torch.device, dtype: torch.dtype, seed: int = 0
) -> LanguageModel:
    """The same, held by this library; it has no tokenizer: give it token ids."""
    model = plain_random_model(name, device, dtype, seed)
    return hold(model, name, device, dtype)


class _NoTexts:
    """In a tokenizer's place: what random weights write is only counted."""

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Nothing."""
        return ""


def hold(model: Any, name: str, device: torch.device, dtype: torch.dtype) -> LanguageModel:
    """Take transformers' model into this library's hands, as `selfedit.load` does."""
    model.config._attn_implementation = ATTENTION
    install(model)
    install_blocks(model)
    tokenizer: Any = _NoTexts()
    return LanguageModel(
        name, model, tokenizer, device, dtype, "random", False, frozenset({-1}), 0, is_known(model)
    )
