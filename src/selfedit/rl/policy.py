"""The policy: the model that writes self-edits, and what each round makes of it."""

from __future__ import annotations

from pathlib import Path

import torch

from selfedit.lm.bank import BankLinear
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.models.quiet import quiet
from selfedit.storage.files import folder_atomic, hash_folder


def merge(lm: LanguageModel, adapter: Adapter) -> None:
    """Add an adapter to the model's weights, in place: W + (alpha / rank) · B A, formed in float32."""
    for name, module in lm.model.named_modules():
        if isinstance(module, BankLinear) and name in adapter.tensors:
            delta = adapter.delta(name).to(module.weight.device)
            with torch.no_grad():
                module.weight.copy_((module.weight.float() + delta).to(module.weight.dtype))


def save_policy(lm: LanguageModel, adapter: Adapter, folder: Path, *, merged: bool) -> str:
    """Write what a round made: the round's adapter in PEFT's format and, if merged, the whole model beside it.

    Returns:
        SHA-256 of the folder.
    """
    with folder_atomic(folder) as new:
        adapter.save(new / "adapter")
        if merged:
            with quiet():
                lm.model.save_pretrained(new / "model")
                lm.tokenizer.save_pretrained(new / "model")
    return hash_folder(folder)
