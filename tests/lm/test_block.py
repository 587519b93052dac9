"""The blocks' own norm and rotary positions against transformers', forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

from selfedit.lm.block import _RMSNorm, _Rotary, install_blocks
from tiny_llama import tiny_llama


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_norm(dtype: torch.dtype, within: float) -> None:
    norm = LlamaRMSNorm(16, eps=1e-5).to(dtype)
    norm.weight.data = drawn(16, seed=0, dtype=dtype)
    ours, theirs = (drawn(5, 16, seed=1, dtype=dtype).requires_grad_() for _ in range(2))
    out: Any = _RMSNorm.apply(ours, norm.weight, norm.variance_epsilon)
    expected = norm(theirs)
    torch.testing.assert_close(out, expected, rtol=0, atol=0)
    grad = drawn(5, 16, seed=2, dtype=dtype)
    out.backward(grad)
    expected.backward(grad)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=within, atol=within)


def test_rotary() -> None:
    half = drawn(7, 4, seed=3)
    cos, sin = (torch.cat((f(half), f(half)), -1) for f in (torch.cos, torch.sin))  # [T, D]
    ours, theirs = (drawn(7, 3, 8, seed=4).requires_grad_() for _ in range(2))
    out: Any = _Rotary.apply(ours, cos[:, None, :4], sin[:, None, :4])
    expected, _ = apply_rotary_pos_emb(theirs, theirs, cos, sin, unsqueeze_dim=1)
    torch.testing.assert_close(out, expected)
    grad = drawn(7, 3, 8, seed=5)
    out.backward(grad)
    expected.backward(grad)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_only_known_kinds_are_replaced() -> None:
    model = tiny_llama(300)
    install_blocks(model)
    replaced = {type(m).__name__ for m in model.modules() if "forward" in vars(m)}
    assert replaced == {"LlamaAttention", "LlamaMLP", "LlamaRMSNorm"}
