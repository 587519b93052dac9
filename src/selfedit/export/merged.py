"""A whole model with the adapter in its weights, as transformers loads it."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoConfig

from selfedit.documents.adapt import load_adapter
from selfedit.errors import UsageError
from selfedit.export.exportable import Exportable
from selfedit.lm.families import TextPart
from selfedit.lm.load import DTYPES, LanguageModel, load
from selfedit.models.names import model_path
from selfedit.models.quiet import quiet
from selfedit.rl.policy import merge


def write_merged(source: Exportable, folder: Path, *, dtype: str, shard: str) -> list[str]:
    """Write the model's folder: safetensors, settings, tokenizer, chat template.

    Args:
        source: what is exported.
        folder: where to; it is there and empty.
        dtype: of the written weights, ``float32``, ``bfloat16``, ``float16``; ``auto`` takes the
            one that the base's files have.
        shard: the most that one file of weights holds, ``5GB``.

    Returns:
        What has to be said of it.

    Raises:
        UsageError: there is no such dtype, or the model is the text part of one with images.
    """
    name = str(source.weights or source.model)
    kind = _weight_type(name, dtype)
    # Added up in float32: an update is often smaller than half a step of bfloat16.
    lm = load(name, device="cpu", dtype="float32", prompting=source.prompting)
    if isinstance(lm.model.base_model, TextPart):
        what = "a merged folder cannot be written of the text part of a model with images"
        raise UsageError(what, where=name, fix="export the adapter: --as adapter")
    if source.weights is None:
        _merge_all(lm, source)
    written = f"Merged in float32, written in {str(kind).removeprefix('torch.')}"
    lost = _rounding(lm, kind)
    with quiet():
        lm.model.to(kind)  # pyright: ignore[reportArgumentType]
        lm.model.save_pretrained(folder, max_shard_size=shard)
        lm.tokenizer.save_pretrained(folder)
    away = f"that rounded the weights by {lost:.2g} of their size" if lost else "nothing is rounded"
    return [f"{written}: {away}."]


def _merge_all(lm: LanguageModel, source: Exportable) -> None:
    for path in source.adapters:
        # It says so where it was trained on other weights than these.
        merge(lm, load_adapter(path, lm))


def _weight_type(name: str, dtype: str) -> torch.dtype:
    if dtype != "auto":
        if dtype not in DTYPES:
            raise UsageError(f"Unknown dtype {dtype!r}", fix=f"use auto, {', '.join(DTYPES)}")
        return DTYPES[dtype]
    with quiet():
        stored = AutoConfig.from_pretrained(model_path(name), trust_remote_code=False).dtype
    return stored if isinstance(stored, torch.dtype) else torch.float32


def _rounding(lm: LanguageModel, kind: torch.dtype) -> float:
    """What a dtype rounds away, as a share of the weights (Frobenius)."""
    lost = total = 0.0
    for weight in lm.model.parameters():
        lost += float((weight.to(kind).to(weight.dtype) - weight).double().square().sum())
        total += float(weight.double().square().sum())
    return (lost / total) ** 0.5 if total else 0.0
