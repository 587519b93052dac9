"""Tokens are drawn from the nucleus as its definition says, by the row's own number."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from selfedit.lm import sampling
from selfedit.lm.sampling import draw_uniforms, next_tokens

VOCAB = 60


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few candidates at first, so that wide nuclei need more: 2 by blocks (the last one padded),
    then 16, then 60.
    """
    monkeypatch.setattr(sampling, "FIRST_K", 2)
    monkeypatch.setattr(sampling, "BLOCK", 7)


def nucleus(logits: Tensor, temperature: float, top_p: float) -> dict[int, float]:
    """By the definition: the smallest set of likeliest tokens with at least ``top_p``, and their
    share of it.
    """
    probs = torch.softmax(logits.double() / temperature, -1).tolist()
    chosen: dict[int, float] = {}
    for token in sorted(range(len(probs)), key=lambda t: -probs[t]):
        if sum(chosen.values()) >= top_p:
            break
        chosen[token] = probs[token]
    return {token: p / sum(chosen.values()) for token, p in chosen.items()}


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.95, 1.0])
def test_an_even_grid_of_numbers_gives_the_nucleus_exactly(
    temperature: float, top_p: float
) -> None:
    logits = 2 * torch.randn(VOCAB, generator=torch.Generator().manual_seed(0))
    n = 20_000
    uniforms = (torch.arange(n) + 0.5) / n
    drawn = Counter(next_tokens(logits.expand(n, -1), temperature, top_p, uniforms).tolist())
    expected = nucleus(logits, temperature, top_p)
    assert set(drawn) <= set(expected)
    for (
        token,
        share,
    ) in expected.items():  # an inverse distribution function is off by less than two grid points
        assert abs(drawn[token] - n * share) <= 2


def test_rows_of_narrow_and_wide_nuclei_mix() -> None:
    logits = torch.zeros(2, VOCAB)
    logits[0, 7] = 50.0
    uniforms = torch.tensor([0.999, 0.999])
    tokens = next_tokens(logits, 1.0, 0.95, uniforms)
    assert tokens[0] == 7
    last = torch.tensor(
        [next_tokens(logits[1:], 1.0, 0.95, torch.tensor([u])).item() for u in torch.rand(300)]
    )
    assert len(set(last.tolist())) > 45  # of the 57 in the nucleus


@given(
    st.integers(0, 10_000),
    st.floats(0, 1, exclude_max=True, width=32),
    st.sampled_from([0.1, 0.7, 1.0]),
)
def test_a_rows_draw_does_not_depend_on_the_others(seed: int, uniform: float, top_p: float) -> None:
    logits = 3 * torch.randn(4, VOCAB, generator=torch.Generator().manual_seed(seed))
    uniforms = torch.tensor([0.1, uniform, 0.9, 0.5])
    together = next_tokens(logits, 1.0, top_p, uniforms)
    alone = [
        next_tokens(logits[i : i + 1], 1.0, top_p, uniforms[i : i + 1]).item() for i in range(4)
    ]
    assert together.tolist() == alone
    assert together[1].item() in nucleus(logits[1], 1.0, top_p)


def test_temperature_zero_is_the_likeliest_and_a_tiny_one_too() -> None:
    logits = 100 * torch.randn(5, VOCAB, generator=torch.Generator().manual_seed(1))
    uniforms = torch.tensor([0.0, 0.2, 0.5, 0.9, 1 - 2**-24])
    assert torch.equal(next_tokens(logits, 0.0, 1.0, uniforms), logits.argmax(-1))
    assert torch.equal(next_tokens(logits, 1e-40, 1.0, uniforms), logits.argmax(-1))


def test_the_largest_number_stays_in_the_nucleus() -> None:
    logits = torch.cat([torch.zeros(3), torch.full((VOCAB - 3,), -200.0)])[None]
    assert next_tokens(logits, 1.0, 1.0, torch.tensor([1 - 2**-24])).item() < 3


def test_a_seeds_numbers_are_its_own_and_go_on() -> None:
    assert torch.equal(draw_uniforms([5, 6], 20)[1], draw_uniforms([6], 20)[0])
    assert torch.equal(draw_uniforms([6], 100)[0, :20], draw_uniforms([6], 20)[0])
    assert not torch.equal(draw_uniforms([5], 20), draw_uniforms([6], 20))
    assert draw_uniforms([], 3).shape == (0, 3)
