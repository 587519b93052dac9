"""The chunked loss and its gradient are torch's cross entropy."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from selfedit.lm import loss as loss_module
from selfedit.lm.loss import head_loss


def case(
    tokens: int, vocab: int = 11, size: int = 5, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(tokens, size, generator=generator, dtype=torch.float64).to(dtype)
    head = torch.randn(vocab, size, generator=generator, dtype=torch.float64).to(dtype)
    targets = torch.randint(vocab, (tokens,), generator=generator)
    weights = torch.rand(tokens, generator=generator, dtype=torch.float64)
    return hidden, head, targets, weights.to(torch.promote_types(dtype, torch.float32))


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 100])
@pytest.mark.parametrize("tokens", [1, 2, 7])
def test_loss_and_gradient_are_cross_entropys(
    tokens: int, chunk_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden, head, targets, weights = case(tokens)
    monkeypatch.setattr(
        loss_module, "CHUNK_BYTES", chunk_rows * head.shape[0] * head.element_size()
    )
    ours, theirs = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    total, losses = head_loss(ours, head, targets, weights)
    each = F.cross_entropy(theirs @ head.T, targets, reduction="none")
    (3 * total).backward()
    (3 * (each * weights).sum()).backward()
    torch.testing.assert_close(losses, each.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(total, (each * weights).sum(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-14)


def test_gradient_is_that_of_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, head, targets, weights = case(4)
    monkeypatch.setattr(loss_module, "CHUNK_BYTES", 3 * head.shape[0] * head.element_size())
    assert torch.autograd.gradcheck(
        lambda h: head_loss(h, head, targets, weights)[0], (hidden.requires_grad_(),)
    )


def test_large_logits_do_not_overflow() -> None:
    hidden, head, targets, weights = case(3, dtype=torch.float32)
    total, losses = head_loss((1e4 * hidden).requires_grad_(), head, targets, weights)
    torch.testing.assert_close(
        losses, F.cross_entropy(1e4 * hidden @ head.T, targets, reduction="none")
    )
    assert total.isfinite()


def test_no_gradient_is_formed_where_none_is_wanted() -> None:
    hidden, head, targets, weights = case(3)
    total, _ = head_loss(hidden, head, targets, weights)
    assert not total.requires_grad


def test_bfloat16_loses_no_more_than_its_logits_do() -> None:
    hidden, head, targets, weights = case(40, vocab=3000, size=16, dtype=torch.bfloat16)
    hidden = (hidden / 4).requires_grad_()
    total, losses = head_loss(hidden, head, targets, weights)
    total.backward()
    logits = (
        (hidden.detach() @ head.T).float().requires_grad_()
    )  # as transformers: upcast before the loss
    each = F.cross_entropy(logits, targets, reduction="none")
    (each * weights).sum().backward()
    torch.testing.assert_close(losses, each.detach(), rtol=1e-5, atol=1e-5)
    assert logits.grad is not None and hidden.grad is not None
    torch.testing.assert_close(hidden.grad, logits.grad.bfloat16() @ head, rtol=0.02, atol=2e-3)
