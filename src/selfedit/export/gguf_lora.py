"""A LoRA adapter as GGUF, as llama.cpp's own converter writes it: what its ``--lora`` and Ollama's
``ADAPTER`` read.

The names of tensors come from the ``gguf`` package's map. llama.cpp turns queries and keys of some
kinds by pairs of neighbours where transformers turns the halves of a head: its converters change
the order of these rows, and the Bs that add to them have to follow (``LlamaModel.permute`` in
llama.cpp's ``conversion/llama.py``; the keys written are those of its ``convert_lora_to_gguf.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gguf
from torch import Tensor
from transformers import PretrainedConfig

from selfedit.errors import UsageError
from selfedit.lm.lora import PART, Adapter
from selfedit.storage.neutral import in_line


class _Kind(NamedTuple):
    """What llama.cpp calls a kind of model, and whether it keeps the rows of queries and keys in
    another order.
    """

    architecture: gguf.MODEL_ARCH
    turned: bool


_GGUF_KINDS = {
    "llama": _Kind(gguf.MODEL_ARCH.LLAMA, True),
    "mistral": _Kind(gguf.MODEL_ARCH.LLAMA, True),
    "ministral3": _Kind(gguf.MODEL_ARCH.MISTRAL3, True),
    "smollm3": _Kind(gguf.MODEL_ARCH.SMOLLM3, True),
    "qwen2": _Kind(gguf.MODEL_ARCH.QWEN2, False),
    "qwen3": _Kind(gguf.MODEL_ARCH.QWEN3, False),
    "gemma": _Kind(gguf.MODEL_ARCH.GEMMA, False),
    "gemma2": _Kind(gguf.MODEL_ARCH.GEMMA2, False),
    "gemma3_text": _Kind(gguf.MODEL_ARCH.GEMMA3, False),
    "phi3": _Kind(gguf.MODEL_ARCH.PHI3, False),
}
"""Kinds of transformers whose converter was read: an order that is guessed would be silent."""
_LAYER = re.compile(r"(?:^|\.)layers\.\d+\.")


def write_gguf(adapter: Adapter, config: PretrainedConfig, path: Path, *, name: str) -> None:
    """Write one GGUF file, its numbers in float32 as they are.

    Args:
        adapter: A ``[r, in]`` and B ``[out, r]`` of each module.
        config: of the base model.
        path: the file.
        name: what the file calls the adapter.

    Raises:
        UsageError: llama.cpp has no name for this kind of model, or for a module.
    """
    kind = _GGUF_KINDS.get(config.model_type)
    if kind is None:
        what = f"no GGUF names are known here for models of kind {in_line(config.model_type, 40)}"
        fix = f"export it merged or as adapter; GGUF is there for {', '.join(_GGUF_KINDS)}"
        raise UsageError(what, where="--as gguf", fix=fix)
    # All of them first: a file is not begun for an adapter that it cannot hold.
    tensors = list(_named_tensors(adapter, config, kind))
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[kind.architecture])
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(in_line(name, 80))
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    # llama.cpp scales by alpha / rank too, the rank being that of the matrices.
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(adapter.spec.alpha))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor_name, matrix in tensors:
        writer.add_tensor(tensor_name, matrix.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _named_tensors(
    adapter: Adapter, config: PretrainedConfig, kind: _Kind
) -> Iterator[tuple[str, Tensor]]:
    names = gguf.get_tensor_name_map(kind.architecture, config.num_hidden_layers)
    for module, (a, b) in sorted(adapter.tensors.items()):
        # The text part of a model with images is a model by itself there.
        plain = module.replace(f"{PART}.", "")
        tensor_name = names.get_name(f"{plain}.weight", try_suffixes=(".weight",))
        if tensor_name is None or not _LAYER.search(plain):
            what = f"llama.cpp has no place for an adapter of {in_line(module, 80)}"
            raise UsageError(what, where="--as gguf", fix="train an adapter of the layers alone")
        # B alone: A reads the hidden state, whose order is the same in both.
        if kind.turned and (heads := _heads_of(plain, config)):
            b = in_pairs(b, heads)
        yield f"{tensor_name}.lora_a", a
        yield f"{tensor_name}.lora_b", b


def _heads_of(module: str, config: PretrainedConfig) -> int:
    """How many heads a module's rows are of, if they are queries or keys."""
    if module.endswith("q_proj"):
        return config.num_attention_heads
    if module.endswith("k_proj"):
        return getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return 0


def in_pairs(rows: Tensor, heads: int) -> Tensor:
    """Rows of each head, first and second half apart, as pairs of one of each: ``[out, r]`` to
    ``[out, r]``.
    """
    halves = rows.reshape(heads, 2, len(rows) // heads // 2, rows.shape[1])
    return halves.transpose(1, 2).reshape(rows.shape)
