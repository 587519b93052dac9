"""Which kinds of models are computed right: a few are known to be, every other is compared at
loading.

The bank, the packed attention and the loss compute parts of a model by themselves. A kind that no
test here has compared goes through transformers' own passes first and through ours afterwards
(`selfedit.lm.comparison`).
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from selfedit._version import __version__
from selfedit.errors import ModelFileError, SelfEditError, Unavailable, first_line
from selfedit.lm.attention import NAME, PlanMissing
from selfedit.lm.comparison import Differs, compare_passes, own_passes
from selfedit.lm.families import CAPPED, WINDOWED
from selfedit.lm.memory import memory_bytes
from selfedit.models.config import COPY
from selfedit.storage.cache import cache_dir
from selfedit.storage.files import write_atomic

T = TypeVar("T")

COMPARED = frozenset({"llama", "qwen2", "qwen3", "mistral"})
"""Kinds that the tests compare with transformers' own forward pass."""
_WINDOWS = re.compile(r"(?:.*_)?(?:window|window_size|chunk_size|chunk)")
"""Settings of attention that does not see every earlier token, or of a state in its place."""
_OF_LAYERS = ("sliding_window", "use_sliding_window")
"""Of these, what is looked at by itself: it means nothing where all layers see everything."""
_LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})
_EXPERTS = re.compile(r"(?:num|n|moe_num)_(?:local_|routed_)?experts")
"""Settings of how many feed-forward parts a layer chooses among."""
_BY_LENGTH = ("dynamic",)
_FLOATS = frozenset({"F64", "F32", "BF16", "F16"})
_FEW = 2**24
"""Numbers that are filled in no time, and then named as missing."""
_KIND_FIX = (
    "use a dense model with causal attention, such as Llama, Qwen3, Gemma 3, Phi-4-mini or SmolLM2"
)


def check_weight_types(folder: Path) -> None:
    """Refuse weights that are whole numbers or quantised ones.

    Raises:
        ModelFileError: names the tensor.
    """
    for path, name, tensor in _heads(folder):
        kind = tensor.get_dtype()
        if kind not in _FLOATS and name.endswith((".weight", "_proj.bias")):
            what = f"the weights of {name[:80]} are of type {kind}, not floating-point numbers"
            raise ModelFileError(what, where=path, fix="use the checkpoint this one was made from")


def _heads(folder: Path) -> Iterator[tuple[Path, str, Any]]:
    """Each tensor of a folder by its file's head alone: file, name, and what can be asked of it."""
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dictionary
                    yield path, name, file.get_slice(name)
        except (SafetensorError, OSError) as error:
            what = f"a weight file cannot be read: {error}"
            raise ModelFileError(what, where=path, fix=COPY) from error


def check_room(folder: Path, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse, before anything is read, weights that a GPU's free memory or the machine's whole
    memory has no room for.

    Raises:
        Unavailable: says what they take, what there is, and what would fit.
    """
    numbers = sum(math.prod(tensor.get_shape()) for _, _, tensor in _heads(folder))
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


def check_size(model: PreTrainedModel, folder: Path) -> None:
    """Refuse a model far larger than its files: transformers would fill what they lack with random
    numbers, however many.

    Args:
        model: as the folder's settings describe it; its tensors need no memory.
        folder: with the weight files.

    Raises:
        ModelFileError: says how many numbers there are, and how many there should be.
    """
    stored = sum(math.prod(tensor.get_shape()) for _, _, tensor in _heads(folder))
    described = sum(parameter.numel() for parameter in model.parameters())
    if described > 2 * stored + _FEW:
        what = (
            f"the settings describe a model of {described:,} numbers, and the weight files hold"
            f" {stored:,}"
        )
        raise ModelFileError(what, where=folder, fix=COPY)


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
    for reason in _unsupported(model):
        raise _unsupported_kind(model.config, folder, reason)


def check_config(config: PretrainedConfig, folder: Path) -> None:
    """The same of what the settings alone tell, before any weight is read.

    Raises:
        ModelFileError: says what.
    """
    for reason in _unsupported_settings(config):
        raise _unsupported_kind(config, folder, reason)


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


def comparison(
    model: PreTrainedModel, folder: Path, known_as: str | None = None
) -> Callable[[], None]:
    """Run a kind that is not known through transformers' own passes; what is returned compares ours
    with them (`selfedit.lm.comparison`).

    Call it before the model's parts are exchanged, and what it returns afterwards.

    Args:
        model: the model.
        folder: for messages.
        known_as: what names the model's weights: one that came out equal is not run again.

    Raises:
        ModelFileError: from both: the model cannot be run, or comes out otherwise.
    """
    if model.config.model_type in COMPARED and _plain_rotary(model):
        return lambda: None
    record = _comparison_record(model, known_as)
    if record is not None and record.exists():
        return lambda: None
    expected = _tried(model, folder, lambda: own_passes(model))

    def run() -> None:
        _tried(model, folder, lambda: compare_passes(model, expected))
        if record is not None:
            with contextlib.suppress(OSError, SelfEditError):  # it is compared again next time
                record.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(record, b"")

    return run


def _comparison_record(model: PreTrainedModel, known_as: str | None) -> Path | None:
    """The file that says that such a model came out equal with these versions."""
    if known_as is None:
        return None
    parts = [known_as, model.config.to_json_string(), model.dtype, model.device.type]
    parts += [transformers.__version__, torch.__version__, __version__]
    name = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
    return cache_dir() / "compared" / name


def _plain_rotary(model: PreTrainedModel) -> bool:
    rotary = getattr(model.config, "rope_parameters", None) or {}
    return rotary.get("rope_type", "default") in ("default", "linear", "llama3")


def _rows(model: PreTrainedModel) -> int:
    """How many tokens the model has a row for."""
    embedding: Any = model.get_input_embeddings()
    return int(embedding.weight.shape[0])


def _unsupported(model: PreTrainedModel) -> Iterator[str]:
    yield from _unsupported_settings(model.config)
    head: Any = model.get_output_embeddings()
    if head is None or getattr(head, "bias", None) is not None:
        yield "its output head has a bias" if head is not None else "it has no output head"


def _unsupported_settings(config: Any) -> Iterator[str]:
    values = config.to_dict()
    counts = [value for name, value in values.items() if _EXPERTS.fullmatch(name)]
    if any(isinstance(count, int) and count > 1 for count in counts):
        yield (
            "it is a mixture of experts, whose experts no adapter here reaches: what is trained"
            " beside them would not be what PEFT trains under the same names"
        )
    yield from _odd_attention(config, values)
    for name in (
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "logits_scaling",
        "logit_scale",
    ):
        scales = getattr(config, name, None) not in (None, 1, 1.0)
        if scales and name not in CAPPED.get(config.model_type, ()):
            yield f"scaled or capped logits ({name})"
    for name in ("num_attention_heads", "num_key_value_heads", "num_hidden_layers", "hidden_size"):
        if not isinstance(getattr(config, name, None), int):
            yield f"its settings have no {name}"


def _odd_attention(config: Any, values: dict[str, Any]) -> Iterator[str]:
    """What attention does otherwise than all plans here do."""
    kinds = set(getattr(config, "layer_types", None) or ())
    if odd := sorted(kinds - _LAYER_TYPES):
        yield f"layers that keep a state, or attend in a way of their own ({odd[0]})"
    windowed = "sliding_attention" in kinds if kinds else getattr(config, "sliding_window", None)
    known = _OF_LAYERS if config.model_type in WINDOWED else _OF_LAYERS[:1]
    others = [
        name
        for name, value in values.items()
        if _WINDOWS.fullmatch(name) and isinstance(value, int) and value and name not in known
    ]
    if others or (windowed and config.model_type not in WINDOWED):
        yield "attention that does not see every earlier token"
    if getattr(config, "use_bidirectional_attention", None):
        yield "attention that sees later tokens"
    rope = getattr(config, "rope_parameters", None) or {}
    for each in [rope, *(part for part in rope.values() if isinstance(part, dict))]:
        if (by_length := each.get("rope_type")) in _BY_LENGTH:
            yield f"positions that depend on a batch's longest sequence ({by_length})"


def _tried(model: PreTrainedModel, folder: Path, run: Callable[[], T]) -> T:
    try:
        return run()
    except Differs as error:
        raise _unsupported_kind(model.config, folder, str(error)) from error
    except PlanMissing as error:
        reason = "its layers do not pass on to attention what it is told"
        raise _unsupported_kind(model.config, folder, reason) from error
    except Exception as error:  # what a kind nobody has looked at raises can be anything
        reason = f"it cannot be run here ({first_line(error)})"
        raise _unsupported_kind(model.config, folder, reason) from error


def _unsupported_kind(config: PretrainedConfig, folder: Path, reason: str) -> ModelFileError:
    what = f"a model of kind {config.model_type!r} is not supported: {reason}"
    return ModelFileError(what, where=folder, fix=_KIND_FIX)


def unreadable_model(what: str, folder: object, error: BaseException) -> ModelFileError:
    """What cannot be read of a model's folder, whatever was raised by it."""
    reason = first_line(error)
    if isinstance(error, KeyError) and error.args == (NAME,):  # of its own table of classes
        reason = "its kind's attention is of its own, and cannot be exchanged for ours"
    fix = (
        "selfedit reads causal language models of transformers' own kinds from safetensors; "
        "copy or fetch the folder again if it should be one"
    )
    return ModelFileError(f"{what} cannot be read: {reason}", where=folder, fix=fix)
