"""The loss against a teacher's probabilities is torch's KL divergence, and so is its gradient."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from selfedit.lm import loss as loss_module
from selfedit.lm.teacher import teach, teacher_loss


def case(tokens: int = 5):
    generator = torch.Generator().manual_seed(3)
    shapes = ((tokens, 6), (13, 6), (tokens, 6))
    hidden, head, teacher = (
        torch.randn(*s, generator=generator, dtype=torch.float64) for s in shapes
    )
    return hidden, head, teacher, torch.rand(tokens, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_loss_and_gradient_are_torchs(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, head, teacher, weights = case()
    monkeypatch.setattr(loss_module, "CHUNK_BYTES", rows * head.shape[0] * head.element_size())
    ours, theirs = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    total, divergences = teacher_loss(ours, head, teacher, weights)
    own, wanted = F.log_softmax(theirs @ head.T, 1), F.log_softmax(teacher @ head.T, 1)
    each = F.kl_div(own, wanted, reduction="none", log_target=True).sum(1)
    (2 * total).backward()
    (2 * (each * weights).sum()).backward()
    torch.testing.assert_close(divergences, each.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)


def test_two_words_by_hand() -> None:
    """Teacher (3/4, 1/4), student (1/2, 1/2): KL = 3/4 ln 3/2 + 1/4 ln 1/2; gradient 1/2 − 3/4 on
    the first logit.
    """
    head = torch.eye(2, dtype=torch.float64)
    student = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    teacher = torch.log(torch.tensor([[3.0, 1.0]], dtype=torch.float64))
    total, _ = teacher_loss(student, head, teacher, torch.ones(1, dtype=torch.float64))
    total.backward()
    assert total.item() == pytest.approx(0.75 * 0.4054651081 - 0.25 * 0.6931471806)
    assert student.grad.tolist() == [[pytest.approx(-0.25), pytest.approx(0.25)]]


def test_no_divergence_from_oneself() -> None:
    hidden, head, _, weights = case()
    own = hidden.clone().requires_grad_()
    total, _ = teacher_loss(own, head, hidden, weights)
    total.backward()
    assert abs(total.item()) < 1e-12 and own.grad.abs().max() < 1e-12


def test_a_teacher_reads_the_prefix_first(tiny_lm) -> None:
    ids, loss = (5, 6, 7, 8), (False, False, True, True)
    plain, before = (
        teach(tiny_lm, [(ids, loss)], weight=0.5, prefixes=p)[0] for p in (None, [(11, 12)])
    )
    assert plain.hidden.shape == before.hidden.shape == (2, 64) and plain.weight == 0.5
    (whole,) = teach(tiny_lm, [((11, 12, *ids), (False, False, *loss))], weight=1)
    torch.testing.assert_close(before.hidden, whole.hidden)
    assert not torch.allclose(before.hidden, plain.hidden, atol=1e-3)
