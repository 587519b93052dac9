"""What a LoRA adapter is: its settings, its matrices, and PEFT's files.

LoRA (Hu et al. 2021, arXiv 2106.09685): y = x Wᵀ + (alpha / rank) · x Aᵀ Bᵀ, W frozen, A ``[r,
in]``, B ``[out, r]``.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from selfedit.config import ALL_LINEAR
from selfedit.errors import UsageError
from selfedit.lm.peft_files import NAME_PREFIX, read_peft_config, read_peft_tensors
from selfedit.models.openable import openable_name
from selfedit.storage.files import storage_errors

PART = "language_model"
"""What the text part is called in a model of several."""


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
            # Frozen dataclasses set attributes this way; sorted, so that equal layers are equal
            # specs.
            object.__setattr__(self, "layers", tuple(sorted(set(self.layers))))
            if not self.layers or self.layers[0] < 0:
                what = "LoRA needs at least one layer, numbered from 0"
                raise UsageError(
                    what, where="lora.layers", fix="leave it out (None) for all layers"
                )
        object.__setattr__(
            self,
            "targets",
            # A single name is a likely slip, and a string would be read as its letters.
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

    def save(self, folder: str | Path, *, base: str | None = None) -> Path:
        """Write PEFT's two files into ``folder``; `peft`, vLLM and `Adapter.load` read them.

        Args:
            folder: made if it is not there.
            base: what is written as the base model; else what peft can open the adapter's own by.

        Raises:
            StorageFull, StorageFailed: there is no room, or the disk fails.
        """
        folder = Path(folder)
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._write(folder, openable_name(self.base) if base is None else base)
        return folder

    def _write(self, folder: Path, base: str) -> None:
        state: dict[str, Tensor] = {}
        for module, (a, b) in self.tensors.items():
            state[f"{NAME_PREFIX}{module}.lora_A.weight"] = a.contiguous()
            state[f"{NAME_PREFIX}{module}.lora_B.weight"] = b.contiguous()
        # metadata: safetensors' readers in transformers refuse files that do not name their
        # framework.
        save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": self.spec.rank,
            "lora_alpha": self.spec.alpha,
            "lora_dropout": self.spec.dropout,
            "target_modules": self._peft_targets(),
            "bias": "none",
            "inference_mode": True,
        }
        # PEFT takes a missing entry for all layers.
        if self.spec.layers is not None:
            config["layers_to_transform"] = list(self.spec.layers)
        (folder / "adapter_config.json").write_text(
            json.dumps(config, indent=2) + "\n", encoding="utf-8"
        )
        # safetensors writes for the owner's eyes only.
        shutil.copymode(folder / "adapter_config.json", folder / "adapter_model.safetensors")

    def _peft_targets(self) -> list[str] | str:
        """The targets as PEFT reads them: a pattern where they are those of the text part of a
        model whose other parts may have modules of the same names.
        """
        targets = sorted(self.spec.targets)
        in_part = all(f".{PART}." in name for name in self.tensors)
        # PEFT takes no pattern together with a list of layers.
        if not in_part or self.spec.layers is not None:
            return targets
        return rf".*\.{PART}\..*\.({'|'.join(map(re.escape, targets))})"

    @staticmethod
    def load(folder: str | Path) -> Adapter:
        """Read a LoRA adapter from PEFT's files.

        Raises:
            ModelFileError: a file is missing, altered, or of a kind this library does not train
                (DoRA, biases, one that changed its base, …).
        """
        folder = Path(folder)
        config = read_peft_config(folder)
        tensors = read_peft_tensors(folder, config.r)
        layers = config.layers_to_transform
        spec = LoraSpec(
            rank=config.r,
            # rsLoRA (Kalajdzievski 2023, arXiv 2312.03732) scales by alpha / √r: as alpha / r with
            # a larger alpha.
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


def distinct_adapters(adapters: Iterable[Adapter | None]) -> list[Adapter]:
    """Each adapter once, in order. By identity: the same object many times is one row of a bank,
    and equal ones are not compared.
    """
    return list({id(adapter): adapter for adapter in adapters if adapter is not None}.values())
