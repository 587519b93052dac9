"""Which of transformers' classes have an arithmetic that is known here, and where they differ from
Llama's.

`selfedit.lm.block` computes these; whatever is not named here runs as transformers wrote it, with
attention exchanged. A class is known by its name: what it computes was compared with transformers'
own passes, in the tests and, for all but the oldest kinds, whenever a model is first loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers.activations import SiLUActivation

from selfedit.lm.attention import Scoring

ATTENTION = (
    *("LlamaAttention", "MistralAttention", "MinistralAttention", "Qwen2Attention"),
    *("Qwen3Attention", "GemmaAttention", "Gemma2Attention", "Gemma3Attention", "Phi3Attention"),
)
"""Classes that are q, k, v (in one matrix or three), perhaps a norm of each query and key, rotary
positions, attention, o and nothing else.
"""
MLP = (
    *("LlamaMLP", "MistralMLP", "MinistralMLP", "Qwen2MLP", "Qwen3MLP"),
    *("GemmaMLP", "Gemma2MLP", "Gemma3MLP", "Phi3MLP"),
)
"""Classes that are down(act(gate(x)) · up(x)), gate and up in one matrix or two, and nothing
else.
"""
NORM = (
    *("LlamaRMSNorm", "MistralRMSNorm", "MinistralRMSNorm", "Qwen2RMSNorm"),
    *("Qwen3RMSNorm", "Phi3RMSNorm"),
)
"""Classes that are weight · x / √(mean x² + ε), the division in float32."""
NORM_OF_ONE = ("GemmaRMSNorm", "Gemma2RMSNorm", "Gemma3RMSNorm")
"""Classes that are (1 + weight) · x / √(mean x² + ε), all of it in float32."""
DECODER = {
    **dict.fromkeys(("LlamaModel", "MistralModel", "MinistralModel", "Qwen2Model"), "Embedding"),
    **dict.fromkeys(("Qwen3Model", "Phi3Model"), "Embedding"),
    "GemmaModel": "GemmaTextScaledWordEmbedding",
    "Gemma2Model": "Gemma2TextScaledWordEmbedding",
    "Gemma3TextModel": "Gemma3TextScaledWordEmbedding",
}
"""Classes that are embeddings, such layers one after another with their sums, and a final norm; and
the class of their embeddings, which scale themselves where the model scales them.
"""
SILU = (nn.SiLU, SiLUActivation)
"""The two forms silu has in transformers."""
_WINDOW_OF_MODEL = ("MistralAttention", "Phi3Attention")
"""Attention that takes the model's window; that of the others is each layer's own."""
FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
"""One matrix that stands for several in some kinds, as PEFT names it."""
_CAPPED = ("Gemma2Attention",)
"""Attention whose scores are capped; Gemma 3 has the setting and does not use it."""
WINDOWED = frozenset(
    {
        *("exaone4", "gemma2", "gemma3_text", "ministral", "ministral3", "mistral", "olmo3"),
        *("phi3", "qwen2", "qwen3", "starcoder2"),
    }
)
"""Kinds whose windows were compared with transformers' on sequences longer than these."""
CAPPED = {
    "gemma2": ("attn_logit_softcapping", "final_logit_softcapping"),
    "gemma3_text": ("final_logit_softcapping",),
}
"""The same of caps: the settings that a kind uses."""
TEXT_KEYS = {
    r"^language_model\.model\.": "model.",
    r"^language_model\.lm_head\.": "lm_head.",
    r"^model\.language_model\.": "model.",
}
"""How files of a model of several parts name its text part, and how the text part alone does."""


class TextPart(nn.Module):
    """The decoder of a model of several parts, under the name that it has there: so PEFT and vLLM
    find an adapter's modules in the whole model.
    """

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.language_model = decoder

    @property
    def embed_tokens(self) -> Any:
        """Where transformers looks for the embeddings."""
        return self.language_model.embed_tokens

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The decoder's own."""
        return self.language_model(*args, **kwargs)


def decoder_of(model: Any) -> Any:
    """The decoder of a causal language model: embeddings, layers, final norm."""
    base = model.base_model
    return base.language_model if isinstance(base, TextPart) else base


def is_known(model: Any) -> bool:
    """Whether the whole decoder is of parts whose arithmetic is known, so that
    `selfedit.lm.block.run_layers` computes it.
    """
    # Whatever is not as expected means "not known", which is slower and still right.
    decoder = decoder_of(model)
    layers = getattr(decoder, "layers", None)
    if layers is None or type(decoder).__name__ not in DECODER:
        return False
    embedding = type(decoder.embed_tokens).__name__
    return embedding == DECODER[type(decoder).__name__] and all(map(_is_known_layer, layers))


def _is_known_layer(layer: Any) -> bool:
    norms = [module for name, module in layer.named_children() if name.endswith("layernorm")]
    return (
        type(layer.self_attn).__name__ in ATTENTION
        and type(layer.mlp).__name__ in MLP
        and len(norms) == (4 if norms_outputs(layer) else 2)
        and all(type(norm).__name__ in (*NORM, *NORM_OF_ONE) for norm in norms)
    )


def norms_outputs(layer: Any) -> bool:
    """Whether a layer norms what its two halves give, too, as Gemma's do from the second on."""
    return hasattr(layer, "post_feedforward_layernorm")


def by_layer_type(decoder: Any) -> Sequence[str] | None:
    """The type of each layer, where a type has rotary frequencies of its own; None where all have
    the same.
    """
    return decoder.config.layer_types if hasattr(decoder.rotary_emb, "layer_types") else None


def scoring_of(attention: Any) -> Scoring:
    """How a known attention weighs tokens."""
    kind = type(attention).__name__
    owner = attention.config if kind in _WINDOW_OF_MODEL else attention
    cap = attention.attn_logit_softcapping if kind in _CAPPED else None
    return Scoring(attention.scaling, getattr(owner, "sliding_window", None), cap)


def targets_in(model: nn.Module, targets: Sequence[str]) -> tuple[str, ...]:
    """An adapter's targets by the names of the model's own modules: where it keeps q, k and v (or
    gate and up) in one matrix and all of them are wanted, that matrix.
    """
    leaves = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    chosen = list(targets)
    for fused, parts in FUSED.items():
        if fused in leaves and not leaves.intersection(parts) and set(parts) <= set(chosen):
            chosen[chosen.index(parts[0])] = fused
            chosen = [target for target in chosen if target not in parts]
    return tuple(dict.fromkeys(chosen))


def has_capped_scores(model: Any) -> bool:
    """Whether an attention of the model caps its scores."""
    capped = (module for module in model.modules() if type(module).__name__ in _CAPPED)
    return any(scoring_of(module).cap is not None for module in capped)


def longest_sequence(config: Any) -> int:
    """The longest sequence that a model with these settings computes the same way alone and in a
    batch with longer ones.

    LongRoPE (Ding et al. 2024, arXiv 2402.13753) has other frequencies for batches that hold one
    sequence longer than the model was first trained on: up to there, all is as for short ones.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    most = int(getattr(config, "max_position_embeddings", 2**31))
    if rope.get("rope_type") != "longrope":
        return most
    first = rope.get("original_max_position_embeddings") or getattr(
        config, "original_max_position_embeddings", most
    )
    return min(most, int(first))


def cap_of_logits(config: Any) -> float | None:
    """What the logits of a model with these settings are capped at; None for logits as they
    are.
    """
    return getattr(config, "final_logit_softcapping", None)
