"""A model folder's own settings, read before any library reads them: what is known is allowed, the
rest left out.

``config.json`` may name an attention, a kernel, a precision, a quantisation or code of its own.
transformers follows some of these even against what its caller asks for, so they are taken out
here, or the folder is refused.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from selfedit.errors import ModelFileError
from selfedit.storage.bounded import BoundedReader

COPY = "copy or fetch the whole folder again"
_CONFIG_READER = BoundedReader(
    "the model's settings", error=ModelFileError, fix=COPY, max_bytes=2**23, finite=False
)
_INDEX = BoundedReader(
    "The index of the weight files", error=ModelFileError, fix=COPY, max_bytes=2**26
)
_TABLES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
)
_OUR_CLASSES = re.compile(
    r"_.*|.*_implementation|auto_map|dtype|torch_dtype|.*kernel.*|trust_remote_code|custom_.*"
    r"|base_model_.*|num_labels|id2label|label2id"
)
"""Keys that would choose for us, name code, or have a name made for each of so many classes."""
TEXT_PARTS = {"gemma3": ("gemma3_text",), "mistral3": ("ministral3", "mistral")}
"""Kinds of models of several parts whose text part is a plain decoder, and what kinds that may
be.
"""
_OF_ALL = ("quantization_config", "compression_config")
"""What is said of the whole alone."""
_SHARED = ("tie_word_embeddings", "eos_token_id", "bos_token_id", "pad_token_id")
"""What the text part takes from the whole where it says nothing of its own."""
_TOKENIZER = BoundedReader(
    "the tokenizer", error=ModelFileError, fix=COPY, max_bytes=2**27, finite=False
)
_MAX_TEMPLATE_BYTES = 2**20

_LAYERS = re.compile(r"(?:.*_)?(?:layers?|blocks|depth)")
_MAX_LAYERS = 2**8
_Width = Annotated[int, Field(ge=1, le=2**20)]
_Layers = Annotated[int, Field(ge=1, le=_MAX_LAYERS)]
_Heads = Annotated[int, Field(ge=1, le=2**10)]


class _Rotary(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
    rope_theta: Annotated[float, Field(gt=0, le=1e12)] | None = None
    factor: Annotated[float, Field(gt=0, le=1e6)] | None = None


class _Settings(BaseModel):
    """The entries that sizes and arithmetic come from; transformers checks the others against its
    own classes.
    """

    model_config = ConfigDict(extra="allow", strict=True)
    model_type: str
    hidden_size: _Width | None = None
    intermediate_size: _Width | None = None
    head_dim: _Width | None = None
    num_hidden_layers: _Layers | None = None
    n_layer: _Layers | None = None
    n_layers: _Layers | None = None
    num_layers: _Layers | None = None
    num_attention_heads: _Heads | None = None
    num_key_value_heads: _Heads | None = None
    vocab_size: Annotated[int, Field(ge=1, le=2**24)] | None = None
    max_position_embeddings: Annotated[int, Field(ge=1, le=2**31)] | None = None
    rms_norm_eps: Annotated[float, Field(gt=0, lt=1)] | None = None
    layer_norm_eps: Annotated[float, Field(gt=0, lt=1)] | None = None
    initializer_range: Annotated[float, Field(ge=0, le=100)] | None = None
    rope_theta: Annotated[float, Field(gt=0, le=1e12)] | None = None
    rope_parameters: _Rotary | None = None
    rope_scaling: _Rotary | None = None
    layer_types: list[str] | None = None
    is_encoder_decoder: bool | None = None


class _Generation(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    eos_token_id: int | list[int] | None = None


def shards(index: Path) -> list[str]:
    """The files that ``model.safetensors.index.json`` names, all of its own folder.

    Raises:
        ModelFileError: it cannot be read, or names a file elsewhere.
    """
    return sorted(set(_INDEX.shape(_INDEX.json(index), _Index, index).weight_map.values()))


def read_config(folder: Path) -> dict[str, Any]:
    """What ``config.json`` says, without what would choose an attention, a precision, a kernel or
    code.

    Raises:
        ModelFileError: it cannot be read, has impossible sizes, or is of a model that is not read:
            quantised, of several parts (but those whose text part is read alone), an encoder with
            a decoder, or with an adapter beside it.
    """
    _check_files(folder)
    path = folder / "config.json"
    values = _CONFIG_READER.shape(_CONFIG_READER.json(path), dict[str, Any], path)
    _CONFIG_READER.shape(values, _Settings, path)
    if (text := _text_part(values)) is not None:
        _CONFIG_READER.shape(text, _Settings, path)
        named = {name: values[name] for name in (*_SHARED, *_OF_ALL) if name in values}
        values = named | text | {name: named[name] for name in _OF_ALL if name in named}
    for name, value in values.items():  # each kind has names of its own for how deep it is
        if _LAYERS.fullmatch(name) and isinstance(value, int) and value > _MAX_LAYERS:
            raise _CONFIG_READER.refused(f"{name[:40]} is more than {_MAX_LAYERS}", path)
    if values.get("quantization_config") or values.get("compression_config"):
        fix = "use the checkpoint that this one was made from, in float32, bfloat16 or float16"
        raise ModelFileError("quantised checkpoints are not read", where=path, fix=fix)
    parts = [
        name for name, value in values.items() if name.endswith("_config") and _is_model(value)
    ]
    if values.get("is_encoder_decoder") or parts:
        what = (
            f"a model of kind {values['model_type'][:40]!r} is not supported: it is not one plain"
            " decoder"
        )
        raise ModelFileError(
            what, where=path, fix="use a language model such as Llama, Qwen2.5 or SmolLM2"
        )
    return {name: value for name, value in values.items() if not _OUR_CLASSES.fullmatch(name)}


def _check_files(folder: Path) -> None:
    """Refuse pipes and devices, which could be read for ever."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ModelFileError("this is no regular file", where=path, fix=COPY)


def is_text_part(folder: Path) -> bool:
    """Whether what is read of a folder is the text part of a model of several."""
    path = folder / "config.json"
    values = _CONFIG_READER.shape(_CONFIG_READER.json(path), dict[str, Any], path)
    return _text_part(values) is not None


def _text_part(values: dict[str, Any]) -> dict[str, Any] | None:
    """The settings of the text part, where it is one that is read by itself."""
    text, kinds = values.get("text_config"), TEXT_PARTS.get(values.get("model_type", ""), ())
    return text if isinstance(text, dict) and text.get("model_type") in kinds else None


def check_tables(folder: Path) -> None:
    """Look at the small files beside the weights that transformers reads for itself.

    Raises:
        ModelFileError: one is no object of a bounded size, or an adapter lies among them.
    """
    for path in (folder / name for name in _TABLES):
        if path.is_file():
            form = _Generation if path.name == "generation_config.json" else dict[str, Any]
            _CONFIG_READER.shape(_CONFIG_READER.json(path), form, path)
    if (folder / "tokenizer.json").is_file():
        _check_tokenizer(folder / "tokenizer.json")
    if (folder / "adapter_config.json").exists():
        what = "an adapter lies beside the model, which would change what it answers"
        raise ModelFileError(
            what,
            where=folder,
            fix="move adapter_config.json and its weights to a folder of their own",
        )
    template = folder / "chat_template.jinja"
    if template.is_file() and template.stat().st_size > _MAX_TEMPLATE_BYTES:
        raise ModelFileError("the chat template is too long", where=template, fix=COPY)


def _check_tokenizer(path: Path) -> None:
    """Refuse a tokenizer whose merges lack the prefix it says they have: the library that reads it
    cuts letters in two there, and ends the whole process.
    """
    try:
        parsed = json.loads(_TOKENIZER.text(path))  # bounds are not checked: it is megabytes long
    except (ValueError, RecursionError) as error:
        raise _TOKENIZER.refused(str(error), path) from error
    model = parsed.get("model") if isinstance(parsed, dict) else None
    if not isinstance(model, dict):
        raise _TOKENIZER.refused("it has no model", path)
    if model.get("dropout"):
        what = "the tokenizer draws by lot how it cuts a text (dropout)"
        raise ModelFileError(what, where=path, fix="set model.dropout to null there")
    if prefix := model.get("continuing_subword_prefix"):
        model = _TOKENIZER.shape(model, _Merges, path)
        seconds = [
            pair.rpartition(" ")[2] if isinstance(pair, str) else pair[1] for pair in model.merges
        ]
        if not all(second.startswith(str(prefix)) for second in seconds):
            raise _TOKENIZER.refused(f"its merges have not the prefix {str(prefix)[:20]!r}", path)


class _Merges(BaseModel):
    """What ``tokenizer.json`` says of how words are put together."""

    continuing_subword_prefix: str
    merges: list[str | tuple[str, str]] = []


class _Index(BaseModel):
    """Which file holds each tensor."""

    weight_map: dict[
        str, Annotated[str, StringConstraints(pattern=r"^[\w-][\w.-]{0,199}\.safetensors$")]
    ]


def _is_model(value: Any) -> bool:
    return isinstance(value, dict) and bool({"model_type", "hidden_size"} & value.keys())
