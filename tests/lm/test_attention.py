"""Packed, prefilled and decoded tokens see what transformers' own attention lets them see."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from selfedit.lm.attention import Decode, KeyValueCache, Packed, Prefill, Scoring
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.segments import consecutive, make_segments
from tiny_llama import made_tokenizer, tiny_llama

LENGTHS = [[5], [3, 3, 3], [6, 2, 5, 1]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "small"
    tokenizer = made_tokenizer()
    tokenizer.save_pretrained(path)
    tiny_llama(len(tokenizer)).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def lm(folder: Path) -> LanguageModel:
    return load(str(folder), device="cpu", dtype="float64")


@pytest.fixture(scope="module")
def reference(folder: Path) -> PreTrainedModel:
    # Not eager attention, which takes its softmax in float32.
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)


def tokens(length: int, seed: int) -> list[int]:
    return torch.randint(3, 300, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def last_hidden(reference: PreTrainedModel, ids: list[int]) -> Tensor:
    with torch.no_grad():
        return reference.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0]


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_packed_sequences_do_not_see_each_other(
    lm: LanguageModel, reference: PreTrainedModel, lengths: list[int]
) -> None:
    texts = [tokens(n, seed) for seed, n in enumerate(lengths)]
    plan = Packed(make_segments(consecutive(lengths), dtype=torch.float64))
    ours = lm.hidden(
        [t for text in texts for t in text], [i for n in lengths for i in range(n)], plan
    )
    close(ours, torch.cat([last_hidden(reference, text) for text in texts]))


@pytest.mark.parametrize("lengths", LENGTHS)
def test_packed_gradients_are_those_of_finite_differences(lengths: list[int]) -> None:
    total = sum(lengths)
    generator = torch.Generator().manual_seed(total)
    q, k, v = (
        torch.randn(total, h, 2, generator=generator, dtype=torch.float64).requires_grad_()
        for h in (4, 2, 2)
    )
    plan = Packed(make_segments(consecutive(lengths), dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda *qkv: plan.attend(0, *qkv, Scoring(0.7)), (q, k, v))


@pytest.mark.parametrize(
    ("window", "cap"), [(1, None), (3, None), (11, None), (50, None), (None, 0.6), (3, 0.6)]
)
def test_windows_and_caps_are_those_of_one_matrix_of_scores(
    window: int | None, cap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of queries, some of them cut off from the first keys, make what one masked product of
    all makes, with its gradients.
    """
    monkeypatch.setattr("selfedit.lm.attention.QUERIES", 4)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(17, h, 6, generator=generator, dtype=torch.float64).requires_grad_()
        for h in (4, 2, 2)
    )
    plan = Packed(make_segments(consecutive([13, 4]), dtype=torch.float64))
    ours = plan.attend(0, q, k, v, Scoring(0.7, window, cap))
    parts = []
    for span in consecutive([13, 4]):
        queries, keys, values = (t[list(span)].transpose(0, 1) for t in (q, k, v))
        scores = 0.7 * queries @ keys.repeat_interleave(2, 0).mT
        scores = scores if cap is None else cap * torch.tanh(scores / cap)
        apart = torch.arange(len(span))[:, None] - torch.arange(len(span))
        hidden = (apart < 0) | (apart >= (window or 99))
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        parts.append((weights @ values.repeat_interleave(2, 0)).transpose(0, 1))
    close(ours, torch.cat(parts))
    pull = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    mine = torch.autograd.grad((ours * pull).sum(), (q, k, v))
    theirs = torch.autograd.grad((torch.cat(parts) * pull).sum(), (q, k, v))
    for one, other in zip(mine, theirs, strict=True):
        close(one, other)


def test_prefill_and_decode_go_on_as_one_long_text(
    lm: LanguageModel, reference: PreTrainedModel
) -> None:
    # Three rows read two prompts: rows 0 and 2 share one. Then each goes on by itself, two tokens.
    prompts, owner, ends = (
        [tokens(6, 1), tokens(3, 2)],
        [0, 1, 0],
        [tokens(2, 3), tokens(2, 4), tokens(2, 5)],
    )
    spans = consecutive([6, 3])
    cache = KeyValueCache(2, 3, 2, 8, 16, lm.head)
    rows = [row for row, p in enumerate(owner) for _ in spans[p]]
    slots = [slot for p in owner for slot in range(len(spans[p]))]
    source = [token for p in owner for token in spans[p]]
    plan = Prefill(
        Packed(make_segments(spans, dtype=torch.float64)),
        torch.tensor(rows),
        torch.tensor(slots),
        torch.tensor(source),
        cache,
    )
    read = lm.hidden(prompts[0] + prompts[1], [*range(6), *range(3)], plan)
    close(read, torch.cat([last_hidden(reference, prompt) for prompt in prompts]))
    for step in range(2):
        lengths = torch.tensor([len(prompts[p]) + step for p in owner])
        ours = lm.hidden([end[step] for end in ends], lengths, Decode(cache, lengths))
        for row, p in enumerate(owner):
            close(ours[row], last_hidden(reference, prompts[p] + ends[row][: step + 1])[-1])
    cache.move(0, 1)  # row 0 becomes a second row 1
    lengths = torch.tensor([4, 4])
    ours = lm.hidden([7, 7], lengths, Decode(cache, lengths))
    close(ours[0], ours[1])
    close(ours[0], last_hidden(reference, [*prompts[1], ends[1][0], 7])[-1])


def test_the_held_model_says_that_it_is_held(lm: LanguageModel) -> None:
    with pytest.raises(RuntimeError, match="held by selfedit"):
        lm.model(torch.tensor([[1, 2, 3]]))
