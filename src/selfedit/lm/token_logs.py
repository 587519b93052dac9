"""How likely a policy finds each token of given texts: with gradient to learn from, and without to
compare two policies.

A policy here is what samples: softmax over what the text's rule allows, of logits divided by the
sampling's temperature. Where a rule allows one token only its log-probability is 0 and has no
gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfedit.lm.loss import cap_logits, cap_slopes, chunk_rows

Allowed = NDArray[np.int64] | None
"""The token ids that a rule allows at one place; None where there is no rule."""


@dataclass(frozen=True)
class Choosing:
    """Under what a policy chooses at N places.

    Attributes:
        temperature: that logits are divided by, above 0.
        allowed: what may be chosen at each place, ``[N]``; nothing where all is allowed everywhere.
        cap: what the model caps its logits at; None where it does not.
    """

    temperature: float = 1.0
    allowed: Sequence[Allowed] = ()
    cap: float | None = None

    def logits(self, hidden: Tensor, head: Tensor) -> Tensor:
        """The model's logits, ``[n, V]``, of last hidden states, ``[n, D]``."""
        wide = torch.promote_types(hidden.dtype, torch.float32)
        return cap_logits((hidden @ head.T).to(wide), self.cap)

    def logs(self, logits: Tensor, start: int) -> Tensor:
        """Log-probabilities of all tokens at places ``start …``, ``[n, V]``; −inf if forbidden.

        ``logits`` are the model's at these places, ``[n, V]``.
        """
        logits = logits / self.temperature
        if self.allowed:
            # Row by row: every place has other tokens. Rules stand on few places, so this loop is
            # short.
            for logit, ids in zip(logits, self.allowed[start : start + len(logits)], strict=True):
                if ids is not None:
                    chosen = torch.from_numpy(ids).to(logits.device)
                    kept = logit[chosen]
                    # Filled after `kept` was copied out: what is allowed keeps its logits, all
                    # else has none.
                    logit.fill_(-torch.inf)[chosen] = kept
        return torch.log_softmax(logits, 1)


class _TokenLogs(torch.autograd.Function):
    """log π of each target; its gradient with respect to a hidden state is (e_target − π) W / T."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, choosing: Choosing
    ) -> Tensor:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        logs_of = torch.empty(len(hidden), device=hidden.device, dtype=wide)
        # Divergences and reports need no gradient: then no buffer.
        grad = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        step = chunk_rows(head)
        for start in range(0, len(hidden), step):
            rows = slice(start, start + step)
            logits = choosing.logits(hidden[rows], head)
            logs = choosing.logs(logits, start)  # [n, V]
            target = targets[rows, None]
            logs_of[rows] = logs.gather(1, target).squeeze(1)
            if grad is not None:
                # e_target − π, and so 0 wherever one token alone may come.
                pull = logs.exp_().neg_().scatter_add_(1, target, torch.ones_like(logs[:, :1]))
                if (slopes := cap_slopes(logits, choosing.cap)) is not None:
                    pull.mul_(slopes)
                # Divided by T once more: logits were, and the derivative is by the hidden states.
                grad[rows] = (pull.to(head.dtype) @ head) / choosing.temperature
        ctx.save_for_backward(grad)
        return logs_of

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = ctx.saved_tensors
        return grad * grads[0][:, None].to(grad.dtype), None, None, None


def token_logs(
    hidden: Tensor, head: Tensor, targets: Tensor, choosing: Choosing | None = None
) -> Tensor:
    """Log-probability of each target, in nats, ``[N]``, with gradient to the hidden states.

    Args:
        hidden: last hidden states of the places before the targets, ``[N, D]``.
        head: the output matrix, ``[V, D]``, frozen.
        targets: the tokens, ``[N]``.
        choosing: temperature, rules and cap; none if not given.
    """
    choosing = choosing or Choosing()
    return _TokenLogs.apply(hidden, head, targets, choosing)  # pyright: ignore[reportReturnType]


@torch.no_grad()
def divergences(
    new: Tensor, old: Tensor, head: Tensor, choosing: Choosing
) -> tuple[Tensor, Tensor, Tensor]:
    """At each place KL(new‖old) of the whole distributions, the new one's entropy and the old
    one's, in nats, ``[N]`` each.

    Args:
        new, old: last hidden states of the two policies at the same places, ``[N, D]``.
        head: the output matrix of both, ``[V, D]``.
        choosing: temperature, rules and cap.
    """
    wide = torch.promote_types(new.dtype, torch.float32)
    # Sums over V: in bfloat16 they would lose their small parts.
    kl, entropy, before = (torch.empty(len(new), device=new.device, dtype=wide) for _ in range(3))
    step = chunk_rows(head)
    for start in range(0, len(new), step):
        rows = slice(start, start + step)
        logs, old_logs = (
            choosing.logs(choosing.logits(states[rows], head), start) for states in (new, old)
        )
        probs = logs.exp()
        kl[rows] = torch.where(probs > 0, probs * (logs - old_logs), 0.0).sum(1)  # 0 · log 0 is 0
        entropy[rows], before[rows] = _entropy(logs), _entropy(old_logs)
    # Rounding leaves values a little below 0 where the policies are equal.
    return kl.clamp_(min=0.0), entropy, before


def _entropy(logs: Tensor) -> Tensor:
    """Of distributions given by their logarithms, ``[n, V]`` to ``[n]``; 0 · log 0 is 0."""
    probs = logs.exp()
    return -torch.where(probs > 0, probs * logs, 0.0).sum(1)
