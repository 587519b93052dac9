"""Next-token loss without the logits of the whole batch.

A vocabulary of 49,152 makes the logits of 500 tokens a 100 MB tensor, and autograd keeps several.
Here the output head runs over a few tokens at a time, and the gradient with respect to the hidden
states is formed at once: softmax minus one-hot, times W.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK_BYTES = 16 * 2**20
"""Logits of one chunk: small enough for a shared cache, large enough for an efficient product."""
GPU_CHUNK_BYTES = 256 * 2**20
"""The same on a GPU, where the output matrix is read again for each chunk."""


def chunk_bytes(device: torch.device) -> int:
    """Logits of one chunk on this device."""
    return CHUNK_BYTES if device.type == "cpu" else GPU_CHUNK_BYTES


def cap_logits(logits: Tensor, cap: float | None) -> Tensor:
    """c · tanh(z / c) of logits z, which keeps them within ±c (Gemma Team 2024, arXiv 2408.00118);
    the very tensor where the cap is None.
    """
    return logits if cap is None else (logits / cap).tanh_() * cap


def cap_slopes(logits: Tensor, cap: float | None) -> Tensor | None:
    """d capped / d logits, 1 − tanh²(z / c), from capped logits; None for 1 everywhere."""
    return None if cap is None else 1 - (logits / cap).square_()


def chunk_rows(head: Tensor) -> int:
    """Tokens whose logits are formed at once, at least 1; ``head`` is the output matrix, ``[V,
    D]``.
    """
    return max(1, chunk_bytes(head.device) // (head.shape[0] * head.element_size()))


# No autograd through the head: its weights are frozen, and V numbers a token would be kept for
# nothing.
class _HeadLoss(torch.autograd.Function):
    """Σ_t weight_t · −log softmax(h_t Wᵀ)[target_t]; also returns the loss of every token."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor, cap: float | None
    ) -> tuple[Tensor, Tensor]:
        losses = torch.empty(len(hidden), device=hidden.device, dtype=weights.dtype)
        # Answers' losses are computed without gradient: then no buffer either.
        grad = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        step = chunk_rows(head)
        # float64 stays float64: the tests' oracles compare in it.
        wide = torch.promote_types(hidden.dtype, torch.float32)
        # One buffer for all chunks; the last chunk uses its first rows.
        buffer = hidden.new_empty(min(step, len(hidden)), head.shape[0])
        for start in range(0, len(hidden), step):
            rows = slice(start, start + step)
            target = targets[rows, None]
            # Below float32 only the product is formed in the model's own type, as transformers
            # does.
            logits = torch.mm(hidden[rows], head.T, out=buffer[: len(target)]).to(wide)  # [n, V]
            logits = cap_logits(logits, cap)
            logs = torch.log_softmax(logits, 1)
            target_logs = logs.gather(1, target)
            losses[rows] = -target_logs.to(losses.dtype).squeeze(1)
            if grad is not None:
                # softmax − one-hot is the derivative of −log softmax by the logits.
                probs = logs.exp_().scatter_add_(1, target, torch.full_like(target_logs, -1.0))
                if (slopes := cap_slopes(logits, cap)) is not None:
                    probs.mul_(slopes)
                torch.mm(probs.to(head.dtype), head, out=grad[rows])
                grad[rows] *= weights[rows, None].to(grad.dtype)  # D numbers a token instead of V
        # The gradient is complete already: the backward pass only scales it.
        ctx.save_for_backward(grad)
        # Losses are for reports: the backward pass sends no gradient through them.
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (grad,) = ctx.saved_tensors
        return grad * grads[0].to(grad.dtype), None, None, None, None


def head_loss(
    hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor, cap: float | None = None
) -> tuple[Tensor, Tensor]:
    """Weighted next-token loss of the tokens that carry it.

    Args:
        hidden: last hidden states of those tokens, after the final norm, ``[N, D]``.
        head: the output matrix, ``[V, D]``, frozen.
        targets: the token that follows each, ``[N]``.
        weights: weight of each token's loss, ``[N]``.
        cap: what the model caps its logits at; None where it does not.

    Returns:
        The weighted sum (a scalar with gradient) and every token's loss in nats, ``[N]``.
    """
    total, losses = _HeadLoss.apply(hidden, head, targets, weights, cap)
    return total, losses
