"""What a LoRA adapter is: its settings, its matrices, and PEFT's files.

LoRA (Hu et al. 2021, arXiv 2106.09685): y = x Wᵀ + (alpha / rank) · x Aᵀ Bᵀ, W frozen, A ``[r,
in]``, B ``[out, r]``.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from selfedit.config import ALL_LINEAR
from selfedit.errors import ModelFileError, UsageError
from selfedit.storage.bounded import BoundedReader
from selfedit.storage.files import storage_errors

_FIX = "give the folder that `selfedit adapt -o` or peft's save_pretrained wrote"
_CONFIG = BoundedReader("adapter_config.json", error=ModelFileError, fix=_FIX, max_bytes=2**22)
_PREFIX = "base_model.model."
_UNSUPPORTED = (
    "use_dora",
    "use_qalora",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "lora_bias",
    "layer_replication",
    "alora_invocation_tokens",
    "monteclora_config",
    "velora_config",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "target_parameters",
    "trainable_token_indices",
)
"""PEFT's settings that change what an adapter computes."""
_BASE_UNCHANGED = (None, True, False, "gaussian", "eva", "orthogonal")
"""PEFT's ways to begin an adapter that leave its base as it is. The others (pissa, olora, corda,
loftq, …) take something out of the base's weights, which the adapter's files do not hold.
"""


@dataclass(frozen=True)
class LoraSpec:
    """Settings of one LoRA adapter.

    Attributes:
        rank: inner dimension r, at least 1.
        alpha: the update is scaled by alpha / rank.
        targets: last parts of the names of the linear modules that get an adapter.
        dropout: share of an adapter's inputs set to zero in training, in [0, 1).
        layers: numbers of the decoder layers that get an adapter; None for all. What lies below the
            lowest of them is the base's own, and is computed once for a sequence, not once an
            epoch.
    """

    rank: int = 16
    alpha: float = 32
    targets: tuple[str, ...] = ALL_LINEAR
    dropout: float = 0.0
    layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.layers is not None:
            object.__setattr__(self, "layers", tuple(sorted(set(self.layers))))
            if not self.layers or self.layers[0] < 0:
                what = "LoRA needs at least one layer, numbered from 0"
                raise UsageError(
                    what, where="lora.layers", fix="leave it out (None) for all layers"
                )
        object.__setattr__(
            self,
            "targets",
            (self.targets,) if isinstance(self.targets, str) else tuple(self.targets),
        )
        if not isinstance(self.rank, int) or self.rank < 1:
            raise UsageError(
                f"LoRA rank must be a whole number of at least 1, not {self.rank}",
                where="lora.rank",
            )
        if not math.isfinite(self.alpha) or self.alpha <= 0:
            raise UsageError(
                f"LoRA alpha must be a positive number, not {self.alpha}", where="lora.alpha"
            )
        if not 0 <= self.dropout < 1:
            raise UsageError(
                f"LoRA dropout must be in [0, 1), not {self.dropout}", where="lora.dropout"
            )
        if not self.targets:
            raise UsageError(
                "LoRA needs at least one target module",
                where="lora.targets",
                fix='e.g. ("q_proj", "v_proj")',
            )

    @property
    def scale(self) -> float:
        """The factor alpha / rank."""
        return self.alpha / self.rank


@dataclass
class Adapter:
    """A trained LoRA adapter.

    Attributes:
        spec: its settings.
        tensors: module name → (A ``[r, in]``, B ``[out, r]``), float32 on the CPU.
        base: name or path of the model it was trained on.
        losses: mean training loss of each optimiser step, in nats a token; empty for a loaded
            adapter.
        tokens: training tokens passed through the model, all epochs.
    """

    spec: LoraSpec
    tensors: dict[str, tuple[Tensor, Tensor]]
    base: str = ""
    losses: list[float] = field(default_factory=list)
    tokens: int = 0

    def delta(self, module: str) -> Tensor:
        """The weight update of a module, ``[out, in]``: (alpha / rank) · B A."""
        a, b = self.tensors[module]
        return self.spec.scale * (b @ a)

    def save(self, folder: str | Path) -> Path:
        """Write PEFT's two files into ``folder``; `peft`, vLLM and `Adapter.load` read them.

        Raises:
            StorageFull, StorageFailed: there is no room, or the disk fails.
        """
        folder = Path(folder)
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._write(folder)
        return folder

    def _write(self, folder: Path) -> None:
        state: dict[str, Tensor] = {}
        for module, (a, b) in self.tensors.items():
            state[f"{_PREFIX}{module}.lora_A.weight"] = a.contiguous()
            state[f"{_PREFIX}{module}.lora_B.weight"] = b.contiguous()
        save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": self.base,
            "r": self.spec.rank,
            "lora_alpha": self.spec.alpha,
            "lora_dropout": self.spec.dropout,
            "target_modules": sorted(self.spec.targets),
            "bias": "none",
            "inference_mode": True,
        }
        if self.spec.layers is not None:
            config["layers_to_transform"] = list(self.spec.layers)
        (folder / "adapter_config.json").write_text(
            json.dumps(config, indent=2) + "\n", encoding="utf-8"
        )

    @staticmethod
    def load(folder: str | Path) -> Adapter:
        """Read a LoRA adapter from PEFT's files.

        Raises:
            ModelFileError: a file is missing, altered, or of a kind this library does not train
                (DoRA, biases, one that changed its base, …).
        """
        folder = Path(folder)
        config = _read_config(folder)
        tensors = _read_tensors(folder, config.r)
        layers = config.layers_to_transform
        spec = LoraSpec(
            rank=config.r,
            alpha=config.lora_alpha * (math.sqrt(config.r) if config.use_rslora else 1.0),
            # Not the file's target_modules, which may be a pattern, "all-linear", or whole names.
            targets=tuple(sorted({name.rsplit(".", 1)[-1] for name in tensors})),
            dropout=config.lora_dropout or 0.0,
            # PEFT takes an empty list for every layer.
            layers=(
                None
                if layers is None
                else tuple([layers] if isinstance(layers, int) else layers) or None
            ),
        )
        return Adapter(spec, tensors, base=config.base_model_name_or_path or "")


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


def _read_config(folder: Path) -> _Config:
    path = folder / "adapter_config.json"
    if not path.exists():
        raise ModelFileError(
            "no adapter here: adapter_config.json is missing", where=folder, fix=_FIX
        )
    config = _CONFIG.shape(_CONFIG.json(path), _Config, path)
    others = config.model_extra or {}
    extras = [key for key in _UNSUPPORTED if others.get(key)]
    if config.bias not in (None, "none"):
        extras.append("bias")
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


def _read_tensors(folder: Path, rank: int) -> dict[str, tuple[Tensor, Tensor]]:
    path = folder / "adapter_model.safetensors"
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelFileError(
            f"the adapter's weights cannot be read: {error}", where=path
        ) from error
    tensors: dict[str, tuple[Tensor, Tensor]] = {}
    for key in sorted(state):
        name, _, part = key.removeprefix(_PREFIX).rpartition(".lora_")
        a, b = (state.get(f"{_PREFIX}{name}.lora_{side}.weight") for side in "AB")
        if part not in ("A.weight", "B.weight") or a is None or b is None:
            raise ModelFileError(f"{key} is not half of a pair of LoRA matrices", where=path)
        if a.ndim != 2 or b.ndim != 2 or (a.shape[0], b.shape[1]) != (rank, rank):
            what = f"{name} is not of rank {rank}: A is {tuple(a.shape)}, B {tuple(b.shape)}"
            raise ModelFileError(what, where=path)
        tensors[name] = (a.to(torch.float32), b.to(torch.float32))
    if not tensors:
        raise ModelFileError("no LoRA matrices in the file", where=path)
    return tensors
