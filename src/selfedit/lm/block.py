"""Decoder blocks of the Llama kind on packed tokens, with fewer passes over memory than one
operation a line.

For a small model, what lies between the matrix products takes as long as they do. Three parts of a
block are replaced by the same arithmetic in fewer steps, with backward passes by hand: RMS norm,
rotary positions, and modules that share their input (q, k, v; gate, up). Blocks of other kinds run
as transformers wrote them. Which classes these are, and how each differs from Llama's: see
`selfedit.lm.families`.
"""

from __future__ import annotations

from types import MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfedit.lm.attention import Plan, plan_in
from selfedit.lm.bank_product import shared_product
from selfedit.lm.families import (
    ATTENTION,
    MLP,
    NORM,
    NORM_OF_ONE,
    SILU,
    by_layer_type,
    decoder_of,
    norms_outputs,
    scoring_of,
)

Turns = tuple[Tensor, Tensor]
"""Cosines and sines of the tokens' positions, ``[T, 1, R/2]`` each, R the values of a head that
turn.
"""


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
        # Where the weight is wider than x, the product is formed before it is rounded (Gemma).
        return (wide * rate).to(weight.dtype).mul_(weight).to(x.dtype)

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
    """Rotary positions (Su et al. 2021, arXiv 2104.09864) in Llama's layout: of a head's first R
    values, value i turns with value i + R/2; the others stay.
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
    """x ``[T, H, D]``, cos and sin ``[T, 1, R/2]``."""
    half = cos.shape[-1]
    low, high, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    # Written half by half into one buffer: a concatenation would copy both halves once more.
    out = torch.empty(x.shape, device=x.device, dtype=x.dtype)
    torch.mul(low, cos, out=out[..., :half]).addcmul_(high, sin, value=-1)
    torch.mul(high, cos, out=out[..., half : 2 * half]).addcmul_(low, sin)
    out[..., 2 * half :] = rest
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
    return _rms_norm(hidden_states, self.weight, self.variance_epsilon)


def _norm_of_one(self: Any, x: Tensor) -> Tensor:
    """Gemma's: weights are kept as what they differ from 1 by, and multiplied in float32."""
    return _rms_norm(x, 1.0 + self.weight.float(), self.eps)


def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    if x.device.type == "cuda":  # one kernel each way
        return F.rms_norm(x.to(weight.dtype), weight.shape, weight, eps).to(x.dtype)
    return cast("Tensor", _RMSNorm.apply(x, weight, eps))


def _gated(self: Any, x: Tensor) -> Tensor:
    """The gated layer of packed tokens, ``[T, D]`` to ``[T, D]``."""
    if hasattr(self, "gate_up_proj"):
        activation = self.activation_fn
        gate, up = shared_product(x, (self.gate_up_proj,))[0].chunk(2, -1)
    else:
        activation = self.act_fn
        gate, up = shared_product(x, (self.gate_proj, self.up_proj))
    # Other activations have no hand-written backward pass; the arithmetic is the same.
    if isinstance(activation, SILU):
        inner = cast("Tensor", _GatedUnit.apply(gate, up))
    else:
        inner = activation(gate) * up
    return self.down_proj(inner)


def _mlp(self: Any, x: Tensor) -> Tensor:
    return _gated(self, x.flatten(0, -2)).view(x.shape)


def _attend(self: Any, x: Tensor, turns: Turns, plan: Plan) -> Tensor:
    """Attention of packed tokens, ``[T, D]`` to ``[T, D]``."""
    # [T, H·D] to [T, H, D]; k and v have fewer heads, hence the −1.
    q, k, v = (t.unflatten(-1, (-1, self.head_dim)) for t in _queries_keys_values(self, x))
    if hasattr(self, "q_norm"):
        q, k = self.q_norm(q), self.k_norm(k)
    q, k = _rotary(q, *turns), _rotary(k, *turns)
    out = plan.attend(self.layer_idx, q, k, v, scoring_of(self))
    return self.o_proj(out.reshape(len(x), -1))


def _queries_keys_values(self: Any, x: Tensor) -> tuple[Tensor, ...]:
    if not hasattr(self, "qkv_proj"):
        return shared_product(x, (self.q_proj, self.k_proj, self.v_proj))
    # Phi's one matrix: all query heads, then the fewer key heads, then as many value heads.
    few = self.num_key_value_heads * self.head_dim
    many = self.qkv_proj.out_features - 2 * few
    return shared_product(x, (self.qkv_proj,))[0].split((many, few, few), -1)


def _turns(embeddings: tuple[Tensor, Tensor]) -> Turns:
    # [1, T, R], whose two halves are equal.
    cos, sin = (part[0, :, None, : part.shape[-1] // 2] for part in embeddings)
    return cos, sin


def _attention_forward(
    self: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    *_: Any,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    # transformers hands over a batch of one row: [1, T, D].
    turns = _turns(position_embeddings)
    return _attend(self, hidden_states[0], turns, plan_in(kwargs))[None], None


def _rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return cast("Tensor", _Rotary.apply(x, cos, sin))


def install_blocks(model: nn.Module) -> None:
    """Give the parts of a model whose arithmetic is known the forward passes above, in place."""
    parts = ((ATTENTION, _attention_forward), (MLP, _mlp), (NORM, _norm))
    for module in model.modules():
        for names, forward in (*parts, (NORM_OF_ONE, _norm_of_one)):
            if type(module).__name__ in names:
                # On the instance, not the class: other models of this kind in the process stay as
                # they are.
                module.forward = MethodType(forward, module)


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
    decoder = decoder_of(model)
    turns = _turns_of_layers(decoder, x, positions)
    for number, layer in enumerate(decoder.layers[first:stop], first):
        x = _layer(layer, x, turns[number], plan)
    # What goes into layer `stop` is kept before the norm, as the layer wants it.
    return decoder.norm(x) if stop is None else x


def _turns_of_layers(decoder: Any, x: Tensor, positions: Tensor) -> list[Turns]:
    """Each layer's, made by transformers' own rotary module: scaled frequencies (Llama 3, YaRN) and
    bases of a kind of layer (Gemma 3) are its business.
    """
    if (kinds := by_layer_type(decoder)) is None:
        return [_turns(decoder.rotary_emb(x[None], position_ids=positions[None]))] * len(
            decoder.layers
        )
    each = {kind: _turns(decoder.rotary_emb(x[None], positions[None], kind)) for kind in set(kinds)}
    return [each[kind] for kind in kinds]


def _layer(layer: Any, x: Tensor, turns: Turns, plan: Plan) -> Tensor:
    """One decoder layer of packed tokens, ``[T, D]`` to ``[T, D]``."""
    attended = _attend(layer.self_attn, layer.input_layernorm(x), turns, plan)
    if not norms_outputs(layer):
        x = x + attended
        return x + _gated(layer.mlp, layer.post_attention_layernorm(x))
    # Gemma 2 and 3: what is added to the stream is normed, not only what is read from it.
    x = x + layer.post_attention_layernorm(attended)
    return x + layer.post_feedforward_layernorm(
        _gated(layer.mlp, layer.pre_feedforward_layernorm(x))
    )


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
    decoder = decoder_of(model)
    if known:
        return run_layers(model, decoder.embed_tokens(ids), positions, plan)
    # The plan rides along as a keyword until our attention takes it out (`plan_in`).
    out = decoder(input_ids=ids[None], position_ids=positions[None], use_cache=False, plan=plan)
    return out.last_hidden_state[0]
