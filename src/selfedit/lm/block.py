"""Decoder blocks of the Llama kind on packed tokens, with fewer passes over memory than one
operation a line.

For a small model, what lies between the matrix products takes as long as they do. Three parts of a
block are replaced by the same arithmetic in fewer steps, with backward passes by hand: RMS norm,
rotary positions, and modules that share their input (q, k, v; gate, up). Blocks of other kinds run
as transformers wrote them.
"""

from __future__ import annotations

from types import MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import SiLUActivation

from selfedit.lm.attention import Plan, plan_in
from selfedit.lm.bank_product import shared_product

ATTENTION = ("LlamaAttention", "MistralAttention", "Qwen2Attention")
"""transformers' classes that are q, k, v, rotary positions, attention, o and nothing else."""
MLP = ("LlamaMLP", "MistralMLP", "Qwen2MLP")
"""transformers' classes that are down(act(gate(x)) · up(x)) and nothing else."""
SILU = (nn.SiLU, SiLUActivation)
"""The two forms silu has in transformers."""
DECODER = ("LlamaModel", "MistralModel", "Qwen2Model")
"""transformers' classes that are embeddings, such layers one after another with their sums, and a
final norm.
"""
NORM = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm")
"""transformers' classes that are weight · x / √(mean x² + ε), the division in float32."""


class _RMSNorm(torch.autograd.Function):
    """weight · x̂ with x̂ = x / √(mean x² + ε) (Zhang and Sennrich 2019, arXiv 1910.07467), over
    the last dimension.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.to(torch.float32)  # whatever the model's own type, as in transformers
        rate = wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()  # [T, 1]
        # The root is kept, not x̂: one number a token instead of D.
        ctx.save_for_backward(x, rate, weight)
        return (wide * rate).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        x, rate, weight = ctx.saved_tensors
        # From here on `unit` is x̂, formed again.
        unit = x.to(rate.dtype) * rate  # x̂
        grad = (grads[0] * weight).to(rate.dtype)
        # d x̂ / d x = rate · (1 − x̂ x̂ᵀ / D)
        # A mean over D, as in the forward pass: the 1/D of the formula is in it.
        along = (grad * unit).mean(-1, keepdim=True)
        return grad.sub_(unit.mul_(along)).mul_(rate).to(x.dtype), None, None


class _Rotary(torch.autograd.Function):
    """Rotary positions (Su et al. 2021, arXiv 2104.09864) in Llama's layout: value i turns with
    value i + D/2.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(grads[0], cos, -sin), None, None  # the transpose of a rotation turns back


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x ``[T, H, D]``, cos and sin ``[T, 1, D/2]``."""
    half = x.shape[-1] // 2
    low, high = x[..., :half], x[..., half:]
    # Written half by half into one buffer: a concatenation would copy both halves once more.
    out = torch.empty(x.shape, device=x.device, dtype=x.dtype)
    torch.mul(low, cos, out=out[..., :half]).addcmul_(high, sin, value=-1)
    torch.mul(high, cos, out=out[..., half:]).addcmul_(low, sin)
    return out


class _GatedUnit(torch.autograd.Function):
    """silu(gate) · up (Shazeer 2020, arXiv 2002.05202): keeps gate and up, computes silu(gate) a
    second time.

    The gated layer's stages are the largest activations of a block; this keeps three of them
    instead of four.
    """

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        # silu(gate) is a temporary, so the product may overwrite it.
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        # torch's own derivative of silu, one pass over memory.
        through = torch.ops.aten.silu_backward(grads[0] * up, gate)
        return through, F.silu(gate).mul_(grads[0])


def _norm(self: Any, hidden_states: Tensor) -> Tensor:
    if hidden_states.device.type == "cuda":  # one kernel each way
        return F.rms_norm(hidden_states, self.weight.shape, self.weight, self.variance_epsilon)
    return cast("Tensor", _RMSNorm.apply(hidden_states, self.weight, self.variance_epsilon))


def _gated(self: Any, x: Tensor) -> Tensor:
    """The gated layer of packed tokens, ``[T, D]`` to ``[T, D]``."""
    gate, up = shared_product(x, (self.gate_proj, self.up_proj))
    # Other activations have no hand-written backward pass; the arithmetic is the same.
    if isinstance(self.act_fn, SILU):
        inner = cast("Tensor", _GatedUnit.apply(gate, up))
    else:
        inner = self.act_fn(gate) * up
    return self.down_proj(inner)


def _mlp(self: Any, x: Tensor) -> Tensor:
    return _gated(self, x.flatten(0, -2)).view(x.shape)


def _attend(self: Any, x: Tensor, cos: Tensor, sin: Tensor, plan: Plan) -> Tensor:
    """Attention of packed tokens, ``[T, D]`` to ``[T, D]``; cos and sin ``[T, 1, D/2]``."""
    q, k, v = shared_product(x, (self.q_proj, self.k_proj, self.v_proj))
    # [T, H·D] to [T, H, D]; k and v have fewer heads, hence the −1.
    q, k, v = (t.view(len(x), -1, self.head_dim) for t in (q, k, v))  # [T, H, D]
    out = plan.attend(self.layer_idx, _rotary(q, cos, sin), _rotary(k, cos, sin), v, self.scaling)
    return self.o_proj(out.reshape(len(x), -1))


def _turns(self: Any, embeddings: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    cos, sin = (p[0, :, None, : self.head_dim // 2] for p in embeddings)  # its two halves are equal
    return cos, sin


def _attention_forward(
    self: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    *_: Any,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    cos, sin = _turns(self, position_embeddings)
    # transformers hands over a batch of one row: [1, T, D].
    return _attend(self, hidden_states[0], cos, sin, plan_in(kwargs))[None], None


def _rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return cast("Tensor", _Rotary.apply(x, cos, sin))


def install_blocks(model: nn.Module) -> None:
    """Give the parts of a model whose arithmetic is known the forward passes above, in place."""
    for module in model.modules():
        for names, forward in ((ATTENTION, _attention_forward), (MLP, _mlp), (NORM, _norm)):
            if type(module).__name__ in names:
                # On the instance, not the class: other models of this kind in the process stay as
                # they are.
                module.forward = MethodType(forward, module)


def is_known(model: Any) -> bool:
    """Whether the whole decoder is of parts whose arithmetic is known, so that `run_layers`
    computes it.
    """
    # Whatever is not as expected means "not known", which is slower and still right.
    decoder = getattr(model, "base_model", None)
    layers = getattr(decoder, "layers", None)
    if type(decoder).__name__ not in DECODER or layers is None:
        return False
    return all(
        type(layer.self_attn).__name__ in ATTENTION
        and type(layer.mlp).__name__ in MLP
        and type(layer.input_layernorm).__name__ in NORM
        and type(layer.post_attention_layernorm).__name__ in NORM
        for layer in layers
    )


def run_layers(
    model: Any, x: Tensor, positions: Tensor, plan: Plan, *, first: int = 0, stop: int | None = None
) -> Tensor:
    """Decoder layers ``first`` to ``stop`` (all that follow) on packed tokens; the final norm after
    the last.

    Args:
        model: one that `is_known`.
        x: what goes into layer ``first``, ``[T, D]``: the embeddings for 0.
        positions: of the tokens in their sequences, ``[T]``.
        plan: what attention does.
        first: the first layer to run.
        stop: the layer before which to stop.

    Returns:
        ``[T, D]``: the last hidden states, or what would go into layer ``stop``.
    """
    decoder = model.base_model
    cos, sin = _turns(
        # transformers' own rotary module: scaled frequencies (Llama 3, YaRN) are its business.
        decoder.layers[0].self_attn,
        decoder.rotary_emb(x[None], position_ids=positions[None]),
    )
    for layer in decoder.layers[first:stop]:
        x = x + _attend(layer.self_attn, layer.input_layernorm(x), cos, sin, plan)
        x = x + _gated(layer.mlp, layer.post_attention_layernorm(x))
    # What goes into layer `stop` is kept before the norm, as the layer wants it.
    return decoder.norm(x) if stop is None else x


def last_hidden(model: Any, ids: Tensor, positions: Tensor, plan: Plan, *, known: bool) -> Tensor:
    """Last hidden states, after the final norm, of packed tokens: ``[T]`` and ``[T]`` to ``[T,
    D]``.

    Args:
        model: one that the parts above are installed in.
        ids: the tokens.
        positions: of the tokens in their sequences.
        plan: what attention does.
        known: the model is one that `is_known`, and `run_layers` computes it.
    """
    decoder = model.base_model
    if known:
        return run_layers(model, decoder.embed_tokens(ids), positions, plan)
    # The plan rides along as a keyword until our attention takes it out (`plan_in`).
    out = decoder(input_ids=ids[None], position_ids=positions[None], use_cache=False, plan=plan)
    return out.last_hidden_state[0]
