"""PEFT's adapter files, read: only plain LoRA, and only what its matrices mean by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from selfedit.errors import ModelFileError
from selfedit.storage.bounded import BoundedReader

_ADAPTER_FIX = "give the folder that `selfedit adapt -o` or peft's save_pretrained wrote"
_CONFIG = BoundedReader(
    "adapter_config.json", error=ModelFileError, fix=_ADAPTER_FIX, max_bytes=2**22
)
NAME_PREFIX = "base_model.model."
_HARMLESS = frozenset(
    {
        "task_type",
        "auto_mapping",
        "peft_version",
        "revision",
        "inference_mode",
        "target_modules",
        "exclude_modules",
        "layers_pattern",
        "fan_in_fan_out",
        "megatron_config",
        "megatron_core",
        "runtime_config",
        "ensure_weight_tying",
        "qalora_group_size",
        # How the adapter was begun; `init_lora_weights` says whether that changed its base.
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
    }
)
"""PEFT's settings that do not change what the matrices of a plain adapter compute. Any other that
is set may: one that is not known here least of all.
"""
_BASE_UNCHANGED = (None, True, False, "gaussian", "eva", "orthogonal")
"""PEFT's ways to begin an adapter that leave its base as it is. The others (pissa, olora, corda,
loftq, …) take something out of the base's weights, which the adapter's files do not hold.
"""
_Layer = Annotated[int, Field(ge=0, le=2**16)]


class _Config(BaseModel):
    """What is needed of PEFT's ``adapter_config.json``; its other entries change nothing, or are
    refused below.
    """

    model_config = ConfigDict(extra="allow", strict=True)
    peft_type: str
    r: int = Field(ge=1, le=2**16)
    lora_alpha: float = Field(gt=0, le=1e9, allow_inf_nan=False)
    lora_dropout: float | None = Field(None, ge=0, lt=1)
    use_rslora: bool | None = None
    base_model_name_or_path: str | None = None
    bias: str | None = None
    init_lora_weights: bool | str | None = None
    layers_to_transform: _Layer | list[_Layer] | None = None


def read_peft_config(folder: Path) -> _Config:
    """An adapter's settings.

    Raises:
        ModelFileError: there are none, or the adapter is no plain LoRA on an unchanged base.
    """
    path = folder / "adapter_config.json"
    if not path.is_file():
        raise ModelFileError(
            "no adapter here: adapter_config.json is missing", where=folder, fix=_ADAPTER_FIX
        )
    config = _CONFIG.shape(_CONFIG.json(path), _Config, path)
    others = config.model_extra or {}
    # Present and false or null changes nothing: peft writes all of its settings out.
    extras = sorted(key[:40] for key in others if others[key] and key not in _HARMLESS)
    if config.bias not in (None, "none"):
        extras.append("bias")
    # The As and Bs alone do not say what was taken out of the base.
    if (begun := config.init_lora_weights) not in _BASE_UNCHANGED:
        what = (
            f"the adapter was begun with {str(begun)[:40]!r}, which changes the weights of its"
            " base: on the base as it is it answers otherwise"
        )
        fix = (
            "save it again in peft with path_initial_model_for_weight_conversion, which makes it"
            " one for the unchanged base"
        )
        raise ModelFileError(what, where=path, fix=fix)
    if config.peft_type != "LORA" or extras:
        listed = f" with {', '.join(extras)}" if extras else ""
        what = f"only plain LoRA adapters can be loaded, not {config.peft_type[:40]}{listed}"
        raise ModelFileError(what, where=path)
    return config


def read_peft_tensors(folder: Path, rank: int) -> dict[str, tuple[Tensor, Tensor]]:
    """An adapter's A and B by module, in float32.

    Raises:
        ModelFileError: they cannot be read, are no pairs, or not of this rank.
    """
    path = folder / "adapter_model.safetensors"
    if path.exists() and not path.is_file():
        raise ModelFileError("this is no regular file", where=path, fix=_ADAPTER_FIX)
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelFileError(
            f"the adapter's weights cannot be read: {error}", where=path
        ) from error
    tensors: dict[str, tuple[Tensor, Tensor]] = {}
    for key in sorted(state):
        name, _, part = key.removeprefix(NAME_PREFIX).rpartition(".lora_")
        # Both halves are looked up from either one, so a lone half is found whichever it is.
        a, b = (state.get(f"{NAME_PREFIX}{name}.lora_{side}.weight") for side in "AB")
        if part not in ("A.weight", "B.weight") or a is None or b is None:
            raise ModelFileError(f"{key} is not half of a pair of LoRA matrices", where=path)
        if a.ndim != 2 or b.ndim != 2 or (a.shape[0], b.shape[1]) != (rank, rank):
            what = f"{name} is not of rank {rank}: A is {tuple(a.shape)}, B {tuple(b.shape)}"
            raise ModelFileError(what, where=path)
        # Files in bfloat16 or float16 are common; the bank adds up in float32.
        tensors[name] = (a.to(torch.float32), b.to(torch.float32))
    if not tensors:
        raise ModelFileError("no LoRA matrices in the file", where=path)
    return tensors
