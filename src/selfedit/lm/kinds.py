"""Which kinds of models are computed right: a few are known to be, every other is compared at
loading.

The bank, the packed attention and the loss compute parts of a model by themselves. For a kind that
no test here has compared, a few tokens go through transformers' own forward pass first and through
ours afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from selfedit.errors import ModelFileError, Unavailable
from selfedit.lm.attention import NAME, Packed
from selfedit.lm.block import is_known, last_hidden
from selfedit.lm.memory import memory_bytes
from selfedit.lm.segments import make_segments

COMPARED = frozenset({"llama", "qwen2", "qwen3", "mistral"})
"""Kinds that the tests compare with transformers' own forward pass."""
_TOKENS = 12
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
_FLOATS = frozenset({"F64", "F32", "BF16", "F16"})
_KIND_FIX = "use a model with plain causal attention, such as Llama, Qwen2.5 or SmolLM2"


def check_weight_types(folder: Path) -> None:
    """Refuse weights that are whole numbers or quantised ones.

    Raises:
        ModelFileError: names the tensor.
    """
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dictionary
                kind = file.get_slice(name).get_dtype()
                if kind not in _FLOATS and name.endswith((".weight", "_proj.bias")):
                    what = (
                        f"the weights of {name[:80]} are of type {kind}, not floating-point numbers"
                    )
                    raise ModelFileError(
                        what, where=path, fix="use the checkpoint this one was made from"
                    )


def check_room(folder: Path, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse, before anything is read, weights that a GPU's free memory or the machine's whole
    memory has no room for.

    Raises:
        Unavailable: says what they take, what there is, and what would fit.
    """
    numbers = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dictionary
                numbers += math.prod(file.get_slice(name).get_shape())
    total, free = memory_bytes(device)
    if device.type != "cuda":
        free = total  # the system makes room: what is free now does not bound it
    if numbers * dtype.itemsize <= free:
        return
    what = (
        f"the model's {numbers / 1e9:.2f} billion weights take {_gib(numbers * dtype.itemsize)} in"
        f" {str(dtype).removeprefix('torch.')}, and {_gib(free)} of {_gib(total)} are free on"
        f" {device}"
    )
    half = torch.bfloat16.itemsize
    narrower = dtype.itemsize > half and numbers * half <= free
    fits = f"a model of up to {free / half / 1e9:.1f} billion weights fits in bfloat16"
    raise Unavailable(
        what, where=folder, fix=f'set dtype = "bfloat16", or {fits}' if narrower else fits
    )


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


def check_loaded(model: PreTrainedModel, dtype: torch.dtype, folder: Path) -> None:
    """See that what was loaded is what was asked for, and numbers.

    Raises:
        ModelFileError: another attention, precision or quantisation, or weights that are not
            finite.
    """
    config: Any = model.config
    if config._attn_implementation != NAME or getattr(model, "hf_quantizer", None) is not None:
        raise ModelFileError(
            "the model's settings choose another attention or a quantisation",
            where=folder,
            fix=_KIND_FIX,
        )
    for name, parameter in model.named_parameters():
        if parameter.dtype != dtype:
            raise ModelFileError(
                f"{name} is {parameter.dtype}, not {dtype}", where=folder, fix=_KIND_FIX
            )
        if parameter.numel() and not torch.isfinite(torch.stack(torch.aminmax(parameter))).all():
            what = f"the weights of {name} hold values that are no numbers"
            raise ModelFileError(what, where=folder, fix="copy or fetch the whole model again")


def check_kind(model: PreTrainedModel, folder: Path) -> None:
    """Refuse what our attention and loss would silently compute otherwise than the model was
    trained with.

    Raises:
        ModelFileError: says what.
    """
    if reasons := list(_unsupported(model)):
        raise _refused(model, folder, reasons[0])


def check_tokenizer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """Refuse a tokenizer with ids that the model has no row for.

    Raises:
        ModelFileError: names the token.
    """
    rows = _rows(model)
    token, number = max(tokenizer.get_vocab().items(), key=lambda entry: entry[1], default=("", -1))
    if number >= rows:
        what = (
            f"the tokenizer has ids the model has no row for: {token[:40]!r} is {number}, the model"
            f" has {rows} rows"
        )
        raise ModelFileError(what, where=folder, fix="use the tokenizer that came with the model")


def comparison(model: PreTrainedModel, folder: Path) -> Callable[[], None]:
    """Run a kind that is not known through transformers' own forward pass; what is returned
    compares ours with it.

    Call it before the model's parts are exchanged, and what it returns afterwards.

    Raises:
        ModelFileError: from both: the model cannot be run, or other logits come out.
    """
    if model.config.model_type in COMPARED:
        return lambda: None
    ids = torch.arange(_TOKENS, device=model.device) * 7 % _rows(model)
    expected = _tried(model, folder, lambda: _own_logits(model, ids))

    def compare() -> None:
        logits = _tried(model, folder, lambda: _our_logits(model, ids))
        error = float((logits - expected).abs().max() / expected.abs().max().clamp_min(1e-6))
        if not error <= _TOLERANCE.get(model.dtype, 1e-3):
            raise _refused(
                model, folder, "its logits come out otherwise than transformers computes them"
            )

    return compare


def _rows(model: PreTrainedModel) -> int:
    """How many tokens the model has a row for."""
    embedding: Any = model.get_input_embeddings()
    return int(embedding.weight.shape[0])


def _unsupported(model: PreTrainedModel) -> Iterator[str]:
    config: Any = model.config
    kinds = getattr(config, "layer_types", None)
    windowed = (
        any(kind != "full_attention" for kind in kinds)
        if kinds
        else getattr(config, "sliding_window", None)
    )
    if windowed:
        yield "attention that does not see every earlier token"
    for name in (
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "logits_scaling",
        "logit_scale",
    ):
        if getattr(config, name, None) not in (None, 1, 1.0):
            yield f"scaled or capped logits ({name})"
    head: Any = model.get_output_embeddings()
    if head is None or getattr(head, "bias", None) is not None:
        yield "its output head has a bias" if head is not None else "it has no output head"
    for name in ("num_attention_heads", "num_key_value_heads", "num_hidden_layers", "hidden_size"):
        if not isinstance(getattr(config, name, None), int):
            yield f"its settings have no {name}"


@torch.no_grad()
def _own_logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    model.set_attn_implementation("eager")
    try:
        return model(input_ids=ids[None], use_cache=False).logits[0].float()  # [T, V]
    finally:
        model.set_attn_implementation(NAME)


@torch.no_grad()
def _our_logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    plan = Packed(make_segments([range(len(ids))], model.device, model.dtype))
    positions = torch.arange(len(ids), device=ids.device)
    hidden = last_hidden(model, ids, positions, plan, known=is_known(model))
    head: Any = model.get_output_embeddings()
    return (hidden @ head.weight.T).float()  # [T, V]


def _tried(model: PreTrainedModel, folder: Path, run: Callable[[], Tensor]) -> Tensor:
    try:
        return run()
    except Exception as error:  # what a kind nobody has looked at raises can be anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _refused(model, folder, reason) from error


def _refused(model: PreTrainedModel, folder: Path, reason: str) -> ModelFileError:
    what = f"a model of kind {model.config.model_type!r} is not supported: {reason}"
    return ModelFileError(what, where=folder, fix=_KIND_FIX)
