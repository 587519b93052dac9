"""Learning from another model's probabilities: the loss KL(teacher ‖ model) of each token, without
whole logits.

Teacher and student share the frozen output head, so the teacher's last hidden states say its whole
distribution: D numbers a token instead of V. As in `selfedit.lm.loss`, the head runs over a few
tokens at a time, and the gradient with respect to the student's hidden states is formed at once:
its probabilities minus the teacher's, times W.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.loss import cap_logits, cap_slopes, chunk_rows
from selfedit.lm.reading import hidden_states


@dataclass(frozen=True, eq=False)
class Teacher:
    """What a sequence's tokens should be predicted like.

    Attributes:
        hidden: the teacher's last hidden state before each token that carries loss, ``[n, D]``.
        weight: of KL(teacher ‖ model), beside the next-token loss and its own weight.
    """

    hidden: Tensor
    weight: float = 1.0


class _TeacherLoss(torch.autograd.Function):
    """Σ_t weight_t · KL(softmax(g_t Wᵀ) ‖ softmax(h_t Wᵀ)); also returns the divergence of every
    token.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, teacher: Tensor, weights: Tensor, cap: float | None
    ) -> tuple[Tensor, Tensor]:
        divergences = torch.empty(len(hidden), device=hidden.device, dtype=weights.dtype)
        grad = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        step = chunk_rows(head)
        wide = torch.promote_types(hidden.dtype, torch.float32)
        for start in range(0, len(hidden), step):
            rows = slice(start, start + step)
            # The whole distribution from D numbers, formed again each time: keeping it would take
            # V a token.
            logits, teacher_logits = (
                cap_logits((states[rows] @ head.T).to(wide), cap) for states in (hidden, teacher)
            )  # [n, V]
            taught, student = torch.log_softmax(teacher_logits, 1), torch.log_softmax(logits, 1)
            teacher_probs = taught.exp()
            # KL = Σ p_teacher · (log p_teacher − log p); `taught` is overwritten, it is not needed
            # again.
            divergences[rows] = (
                taught.sub_(student).mul_(teacher_probs).sum(1).to(divergences.dtype)
            )
            if grad is not None:
                # p − p_teacher is the derivative of the cross-entropy by the logits, and of KL:
                # they differ by a constant.
                probs = student.exp_().sub_(teacher_probs).mul_(weights[rows, None].to(wide))
                if (slopes := cap_slopes(logits, cap)) is not None:
                    probs.mul_(slopes)
                torch.mm(probs.to(head.dtype), head, out=grad[rows])
        ctx.save_for_backward(grad)
        ctx.mark_non_differentiable(divergences)
        return (divergences * weights).sum(), divergences

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (grad,) = ctx.saved_tensors
        return grad * grads[0].to(grad.dtype), None, None, None, None


def teacher_loss(
    hidden: Tensor, head: Tensor, teacher: Tensor, weights: Tensor, cap: float | None = None
) -> tuple[Tensor, Tensor]:
    """Weighted divergence of a model's predictions from a teacher's (Hinton et al. 2015, arXiv
    1503.02531).

    Args:
        hidden: the model's last hidden states, ``[N, D]``.
        head: the output matrix of both, ``[V, D]``, frozen.
        teacher: the teacher's last hidden states at the same tokens, ``[N, D]``.
        weights: weight of each token's divergence, ``[N]``.
        cap: what both models cap their logits at; None where they do not.

    Returns:
        The weighted sum (a scalar with gradient) and every token's divergence in nats, ``[N]``.
    """
    total, divergences = _TeacherLoss.apply(hidden, head, teacher, weights, cap)
    return total, divergences


def teach(
    lm: LanguageModel,
    sequences: Sequence[tuple[Sequence[int], Sequence[bool]]],
    *,
    weight: float,
    prefixes: Sequence[Sequence[int]] | None = None,
    adapters: Sequence[Adapter | None] | None = None,
) -> list[Teacher]:
    """A teacher for each sequence: the model under its adapter, with something more to read before
    it.

    Args:
        lm: the model.
        sequences: (token ids, which of them carry loss) of each.
        weight: of every teacher.
        prefixes: token ids the teacher reads before each sequence; nothing if not given.
        adapters: the teacher's adapter for each; the plain model if not given.
    """
    # A prefix makes the teacher: the same weights that have read the passage teach those that have
    # not.
    before = [()] * len(sequences) if prefixes is None else [tuple(prefix) for prefix in prefixes]
    rows = [_after(lm, prefix, ids) for prefix, (ids, _) in zip(before, sequences, strict=True)]
    taught = []
    for prefix, (_, loss), hidden in zip(
        before, sequences, hidden_states(lm, rows, adapters), strict=True
    ):
        # The state before each token that carries loss, behind the prefix.
        places = [len(prefix) + t - 1 for t in range(1, len(loss)) if loss[t]]
        # clone: the view would keep the hidden states of the whole pass.
        taught.append(Teacher(hidden[places].clone(), weight))
    return taught


def _after(lm: LanguageModel, prefix: Sequence[int], ids: Sequence[int]) -> tuple[int, ...]:
    """A sequence with a text before it; the beginning of text stays the beginning."""
    start = len(lm.bos) if tuple(ids[: len(lm.bos)]) == lm.bos else 0
    return (*ids[:start], *prefix, *ids[start:])
