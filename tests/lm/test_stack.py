"""Adapters added up as one: the same weights, and the same answers, as merging each in turn."""

from __future__ import annotations

import pytest
import torch

from selfedit.errors import UsageError
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.lm.reading import hidden_states
from selfedit.lm.stack import stack


def adapter(
    lm, seed: int, rank: int, targets: tuple[str, ...], alpha: float = 3.0, base: str = "tiny"
) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, module in lm.model.named_modules():
        if name.rsplit(".", 1)[-1] in targets:
            a = torch.randn(rank, module.in_features, generator=generator) / 8
            tensors[name] = (a, torch.randn(module.out_features, rank, generator=generator) / 8)
    return Adapter(LoraSpec(rank, alpha, targets), tensors, base)


def test_the_sum_of_the_updates(tiny_lm) -> None:
    first = adapter(tiny_lm, 1, 2, ("q_proj", "v_proj"))
    second = adapter(tiny_lm, 2, 3, ("v_proj", "down_proj"), alpha=5.0)
    whole = stack([first, second], [1.0, 0.5])
    assert whole is not None and whole.spec.rank == 5 and whole.spec.scale == 1
    for name in whole.tensors:
        parts = [f * a.delta(name) for f, a in ((1.0, first), (0.5, second)) if name in a.tensors]
        torch.testing.assert_close(whole.delta(name), sum(parts), rtol=1e-5, atol=1e-6)


def test_a_stack_goes_through_pefts_files(tiny_lm, tmp_path) -> None:
    whole = stack([adapter(tiny_lm, 1, 2, ("q_proj",)), adapter(tiny_lm, 2, 2, ("q_proj",))])
    assert whole is not None
    again = Adapter.load(whole.save(tmp_path / "whole"))
    for name in whole.tensors:
        assert torch.equal(again.delta(name), whole.delta(name))


def test_rows_under_different_adapters_are_read_as_alone(tiny_lm) -> None:
    one, two = (adapter(tiny_lm, seed, 2, ("q_proj", "up_proj")) for seed in (1, 2))
    rows, chosen = [[5, 6, 7], [8, 9], [5, 6, 7], [4, 3, 2, 1]], [one, None, two, one]
    together = list(hidden_states(tiny_lm, rows, chosen))
    for row, under, found in zip(rows, chosen, together, strict=True):
        (alone,) = hidden_states(tiny_lm, [row], [under])
        torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[0], together[2], atol=1e-3)


def test_what_cannot_be_added(tiny_lm) -> None:
    first = adapter(tiny_lm, 1, 2, ("q_proj",))
    assert stack([]) is None
    with pytest.raises(UsageError, match="different models"):
        stack([first, adapter(tiny_lm, 2, 2, ("q_proj",), base="another")])
    with pytest.raises(UsageError, match="2 factors"):
        stack([first], [1.0, 1.0])
