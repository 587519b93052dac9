"""Load a language model to build on: frozen, in evaluation mode, with its tokenizer."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from selfedit.config import Prompting, Settings
from selfedit.errors import ModelFileError, Unavailable, UsageError, first_line
from selfedit.lm.attention import NAME as ATTENTION
from selfedit.lm.attention import Plan
from selfedit.lm.bank import install
from selfedit.lm.block import install_blocks, last_hidden
from selfedit.lm.chat import chat_prompt, chat_turns, end_of_turn
from selfedit.lm.encoding import Encoding, is_of_tokenizer
from selfedit.lm.families import (
    TEXT_KEYS,
    TextPart,
    cap_of_logits,
    decoder_of,
    is_known,
    longest_sequence,
)
from selfedit.lm.kinds import (
    check_config,
    check_kind,
    check_loaded,
    check_room,
    check_size,
    check_tokenizer,
    check_weight_types,
    comparison,
    unreadable_model,
)
from selfedit.lm.loss import cap_logits
from selfedit.lm.weights import weights_fingerprint
from selfedit.models.config import check_tables, is_text_part, read_config
from selfedit.models.names import model_path, tokenizer_path
from selfedit.models.quiet import quiet
from selfedit.models.wheel import Progress
from selfedit.storage.doing import doing
from selfedit.storage.neutral import in_line

__all__ = ["LanguageModel", "chat_prompt", "chat_turns", "load", "load_for", "load_without_weights"]

_TRIED = "Who built 1 <harbour>?\n"
_UNUSED = re.compile(r"inv_freq$|masked_bias$|position_ids$|\.attn\.bias$|^mtp\.")
"""Tensors that checkpoints carry without need: what is computed anyway, heads for training."""
_OTHER_PART = re.compile(r"(?:^|\.)(?:vision_tower|multi_modal_projector)\.")
"""Tensors of what is not read of a model of text and images."""
_MOST_TOKENS = 40
"""Of a letter, at the most, on average."""
_OR_PLAIN = "or set prompting = plain"
DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A frozen model and its tokenizer.

    Attributes:
        name: the name it was loaded by.
        model: in evaluation mode, no parameter wants a gradient.
        tokenizer: its tokenizer.
        device: where the model is.
        dtype: of its weights.
        fingerprint: SHA-256 over the weight files' SHA-256s: equal weights, equal fingerprint,
            wherever they lie. It knows neither the tokenizer nor the dtype.
        has_chat: whether it is asked in its tokenizer's chat template.
        eos_ids: every token that ends an answer.
        pad_id: the token to pad with; always masked.
        known: the decoder is of parts whose arithmetic this library has of its own
            (`selfedit.lm.block`).
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    dtype: torch.dtype
    fingerprint: str
    has_chat: bool
    eos_ids: frozenset[int]
    pad_id: int
    known: bool = False

    @property
    def head(self) -> Tensor:
        """The output matrix, ``[V, D]``."""
        head: Any = self.model.get_output_embeddings()
        return head.weight

    @property
    def cap(self) -> float | None:
        """What the model's logits are capped at; None where they are not."""
        return cap_of_logits(self.model.config)

    def logits(self, hidden: Tensor, head: Tensor | None = None) -> Tensor:
        """Logits of last hidden states, ``[T, D]`` to ``[T, V]``, or of the rows in ``head``."""
        return cap_logits(hidden @ (self.head if head is None else head).T, self.cap)

    @property
    def max_tokens(self) -> int:
        """The longest sequence that the model computes the same way alone and among longer ones."""
        return longest_sequence(self.model.config)

    @property
    def end_id(self) -> int:
        """The token that ends a text: the tokenizer's end of sequence."""
        eos = self.tokenizer.eos_token_id
        return eos if isinstance(eos, int) else min(self.eos_ids)

    @cached_property
    def encoding(self) -> Encoding:
        """How texts become token ids."""
        return Encoding(self.tokenizer)

    @property
    def bos(self) -> tuple[int, ...]:
        """What the tokenizer puts before a text: Llama's, Mistral's, Gemma's beginning of text;
        mostly nothing.
        """
        return self.encoding.bos

    @property
    def text_start(self) -> tuple[int, ...]:
        """What a model that has read nothing yet goes on from: its beginning of text, else the end
        of another.
        """
        return self.bos or (self.end_id,)

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a plain text, no special token added and none recognised in it."""
        return tuple(self.encoding.begin(text))

    def encode_more(self, text: str) -> tuple[int, ...]:
        """The same of a text that goes on from another: some tokenizers begin a text with a space
        of their own.
        """
        return tuple(self.encoding.more(text))

    def document(self, text: str) -> tuple[int, ...]:
        """Token ids of a whole text: its beginning where the tokenizer puts one, and its end."""
        return (*self.bos, *self.encode(text), self.end_id)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def embed(self, ids: Tensor) -> Tensor:
        """What goes into the first layer, ``[T]`` to ``[T, D]``."""
        return decoder_of(self.model).embed_tokens(ids)

    def hidden(
        self, ids: Sequence[int] | Tensor, positions: Sequence[int] | Tensor, plan: Plan
    ) -> Tensor:
        """Last hidden states, after the final norm, of packed tokens: ``[T]`` and ``[T]`` to ``[T,
        D]``.
        """
        packed = torch.as_tensor(ids, device=self.device)
        places = torch.as_tensor(positions, device=self.device)
        return last_hidden(self.model, packed, places, plan, known=self.known)


def load(
    name: str = "smollm2-135m",
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    on_progress: Progress | None = None,
    deterministic: bool = False,
    prompting: Prompting = "auto",
) -> LanguageModel:
    """Load a model, fetching it first where it is not on this machine: only safetensors, and no
    code of the model's.

    Args:
        name: an alias (``selfedit models``), a folder, or a hub id (``owner/name``).
        device: ``"auto"`` takes CUDA, then Apple's GPU, then the CPU.
        dtype: ``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"float64"``; ``"auto"`` takes
            bfloat16 on a CUDA device that has it, else float32.
        revision: a branch, tag or commit of a hub id.
        on_progress: called with the bytes fetched and the bytes in all.
        deterministic: on a CUDA device, let torch use only kernels that give equal bytes each time,
            in this process from here on. Without it the sums of long sequences' gradients may
            differ in their last bits.
        prompting: ``"chat"`` asks in the tokenizer's chat template, ``"plain"`` never does,
            ``"auto"`` does where there is one. Base models with a template (Qwen2.5's) want
            ``"plain"``.

    Raises:
        UsageError: no such alias, device or dtype, or no template to ask in.
        ModelUnavailable: it could not be fetched.
        ModelFileError: its files are missing, altered, cut short, or pickled.
    """
    target = usable_device(device)
    if deterministic and target.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what torch asks for
        torch.use_deterministic_algorithms(True)
    kind = _dtype(dtype, target)
    folder = model_path(name, on_progress=on_progress, revision=revision)
    with doing(f"loading {in_line(name)}"):
        model = _read_model(folder, kind, target).to(target)  # pyright: ignore[reportArgumentType]
        model.eval().requires_grad_(False)
        check_kind(model, folder)
        known_as = weights_fingerprint(folder)
    with doing(f"comparing {in_line(name)} with transformers' arithmetic, once for such a model"):
        compare = comparison(model, folder, known_as)
        install(model)
        install_blocks(model)
        compare()
    lm = _with_tokenizer(name, folder, model, target, kind, prompting)
    return replace(lm, fingerprint=known_as, known=is_known(model))


def _with_tokenizer(
    name: str,
    folder: Path,
    model: PreTrainedModel,
    device: torch.device,
    dtype: torch.dtype,
    prompting: Prompting,
) -> LanguageModel:
    tokenizer = _read_tokenizer(folder, model.config)
    check_tokenizer(model, tokenizer, folder)
    has_chat = _asks_in_chat(prompting, tokenizer, name)
    eos_ids = _eos_ids(model, tokenizer, folder, has_chat=has_chat)
    pad_id = min(_ids(tokenizer.pad_token_id) or eos_ids)
    lm = LanguageModel(name, model, tokenizer, device, dtype, "", has_chat, eos_ids, pad_id)
    try:
        ids = [*lm.encode(_TRIED), *lm.encode_more(_TRIED)]
        lm.decode([*lm.document(_TRIED), *ids])
    except BaseException as error:
        if not is_of_tokenizer(error):
            raise
        raise unreadable_model("The tokenizer", folder, error) from error
    if not 0 < len(ids) < 2 * _MOST_TOKENS * len(_TRIED):
        what = f"The tokenizer makes {len(ids) // 2} tokens of {len(_TRIED)} letters"
        raise ModelFileError(what, where=folder, fix="use the tokenizer that came with the model")
    return lm


def load_without_weights(name: str, *, prompting: Prompting = "auto") -> LanguageModel:
    """A model's tokenizer and shape, for what it is asked and trained on: nothing can be computed
    with it.

    Raises:
        UsageError, ModelUnavailable, ModelFileError: as `load`.
    """
    folder = tokenizer_path(name)
    config = read_config(folder)
    check_tables(folder)
    nowhere = torch.device("meta")
    try:
        with quiet(), nowhere:
            model = _without_weights(CONFIG_MAPPING[config.pop("model_type")].from_dict(config))
            if (folder / "generation_config.json").exists():
                model.generation_config = GenerationConfig.from_pretrained(folder)
    except Exception as error:  # whatever a folder that nobody vouches for makes transformers raise
        raise unreadable_model("The model", folder, error) from error
    return _with_tokenizer(name, folder, model, nowhere, torch.float32, prompting)


def _without_weights(config: Any) -> Any:
    """The model of a configuration, its tensors without memory."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=False)


def load_for(settings: Settings, name: str | None = None) -> LanguageModel:
    """Load the model of a run, or the one named, as the run's settings say."""
    return load(
        settings.model if name is None else name,
        device=settings.device,
        dtype=settings.dtype,
        deterministic=settings.deterministic,
        prompting=settings.prompting,
    )


def _asks_in_chat(prompting: Prompting, tokenizer: PreTrainedTokenizerBase, name: str) -> bool:
    if prompting == "chat" and tokenizer.chat_template is None:
        fix = "set prompting = plain, or choose a model with a template"
        raise UsageError("this model has no chat template to be asked in", where=name, fix=fix)
    return prompting != "plain" and tokenizer.chat_template is not None


def usable_device(device: str | torch.device) -> torch.device:
    """The device of a name; ``"auto"`` takes CUDA, then Apple's GPU, then the CPU.

    Raises:
        UsageError: there is none of that name here.
    """
    if device == "auto":
        device = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        what = f"The device {str(device)!r} cannot be used: {first_line(error)}"
        raise UsageError(what, fix="use auto, cpu, cuda, cuda:N or mps") from error


def _dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return (
            torch.bfloat16
            if device.type == "cuda" and torch.cuda.is_bf16_supported()
            else torch.float32
        )
    if dtype not in DTYPES:
        raise UsageError(f"Unknown dtype {dtype!r}", fix=f"use auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def _read_model(folder: Path, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    config, is_part = read_config(folder), is_text_part(folder)
    check_tables(folder)
    try:
        kind = CONFIG_MAPPING[config.pop("model_type")].from_dict(config)
        check_config(kind, folder)
        check_weight_types(folder)
        check_room(folder, dtype, device)
        with quiet():
            check_size(_without_weights(kind), folder)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                config=kind,
                dtype=dtype,
                attn_implementation=ATTENTION,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **({"key_mapping": TEXT_KEYS} if is_part else {}),
            )
    except (ModelFileError, Unavailable):
        raise
    except Exception as error:  # whatever a folder that nobody vouches for makes transformers raise
        raise unreadable_model("The model", folder, error) from error
    model, info = loaded
    # transformers only warns of these, and fills them with random numbers.
    if missing := sorted(info["missing_keys"]):
        what = f"The weight files lack {len(missing)} of the model's tensors, {missing[0]} for one"
        raise ModelFileError(what, where=folder, fix="copy or fetch the whole model again")
    # It only warns of these too, and leaves them out: a bias, a layer more than the settings say.
    unread = [name for name in sorted(info["unexpected_keys"]) if not _UNUSED.search(name)]
    if unread := [name for name in unread if not (is_part and _OTHER_PART.search(name))]:
        what = (
            f"The weight files hold {len(unread)} tensors that the model of these settings has no"
            f" place for, {unread[0][:80]} for one: without them it would answer otherwise"
        )
        raise ModelFileError(what, where=folder, fix="use config.json as it came with the weights")
    check_loaded(model, dtype, folder)
    if is_part:
        model.model = TextPart(model.model)
    return model


def _read_tokenizer(folder: Path, config: Any) -> PreTrainedTokenizerBase:
    try:
        with quiet():
            # With the settings that were read: it would read config.json again, and follow what it
            # says.
            tokenizer = AutoTokenizer.from_pretrained(
                folder, config=config, trust_remote_code=False, local_files_only=True
            )
            tokenizer(_TRIED)
            Encoding(tokenizer)
            return tokenizer
    except BaseException as error:
        if not is_of_tokenizer(error):
            raise
        raise unreadable_model("The tokenizer", folder, error) from error


def _eos_ids(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, has_chat: bool
) -> frozenset[int]:
    named = model.generation_config.eos_token_id if model.generation_config is not None else None
    try:
        turn = end_of_turn(tokenizer) if has_chat else None
    except UsageError as error:
        raise ModelFileError(
            error.what, where=folder, fix=f"use a model with another chat template, {_OR_PLAIN}"
        ) from error
    except ModelFileError as error:
        raise ModelFileError(error.what, where=folder, fix=f"{error.fix}, {_OR_PLAIN}") from error
    ids = _ids(named) | _ids(tokenizer.eos_token_id) | _ids(turn)
    if not ids:
        fix = "set eos_token in tokenizer_config.json"
        raise ModelFileError("The model names no token that ends a text", where=folder, fix=fix)
    return frozenset(ids)


def _ids(named: Any) -> set[int]:
    """Configurations name no id, one, or several."""
    return (
        set() if named is None else set(named) if isinstance(named, list | tuple) else {int(named)}
    )
