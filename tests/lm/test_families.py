"""Each family of models: hidden states, training, adapters' files, likelihoods and greedy texts are
those of transformers and PEFT, on sequences longer than the family's window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch.nn import functional as F
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    Ministral3Config,
    MinistralConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

import selfedit as se
from benchmarks.careful import initial_values, train_with_peft
from selfedit.inner.job import TrainSequence
from selfedit.lm.attention import packed_attention
from selfedit.lm.likelihood import answer_losses
from tiny_llama import made_tokenizer

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*is_gradient_checkpointing.*:FutureWarning"
)  # peft asks for it
LENGTHS = (29, 13, 3)
WINDOW = 5
NEW = 9
"""Tokens written after a prompt: from the shortest one on, more than a window in all."""
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
PATTERN = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
FUSED = {name: size for name, size in SIZES.items() if name != "head_dim"}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0, 1.5],
    "long_factor": [9.0, 20.0],
    "factor": 8.0,
    "partial_rotary_factor": 0.5,
    "original_max_position_embeddings": 64,
}
FAMILIES: dict[str, Callable[[int], Any]] = {
    "qwen2-windows": lambda v: Qwen2Config(
        vocab_size=v, **FUSED, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=2
    ),
    "qwen3": lambda v: Qwen3Config(vocab_size=v, **SIZES, attention_bias=True),
    "qwen3-windows": lambda v: Qwen3Config(
        vocab_size=v, **SIZES, use_sliding_window=True, sliding_window=WINDOW, layer_types=PATTERN
    ),
    "mistral": lambda v: MistralConfig(vocab_size=v, **SIZES, sliding_window=WINDOW),
    "ministral": lambda v: MinistralConfig(
        vocab_size=v, **SIZES, sliding_window=WINDOW, layer_types=PATTERN
    ),
    "ministral3": lambda v: Ministral3Config(vocab_size=v, **SIZES, sliding_window=WINDOW),
    "gemma": lambda v: GemmaConfig(vocab_size=v, **SIZES),
    "gemma2": lambda v: Gemma2Config(
        vocab_size=v,
        **SIZES,
        sliding_window=WINDOW,
        query_pre_attn_scalar=9,
        attn_logit_softcapping=0.7,
        final_logit_softcapping=1.5,
    ),
    "gemma3": lambda v: Gemma3TextConfig(
        vocab_size=v,
        **SIZES,
        sliding_window=WINDOW,
        layer_types=PATTERN,
        query_pre_attn_scalar=9,
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
            "full_attention": {"rope_type": "linear", "rope_theta": 5e3, "factor": 4.0},
        },
    ),
    "phi3": lambda v: Phi3Config(vocab_size=v, **FUSED, sliding_window=WINDOW),
    "phi4-mini": lambda v: Phi3Config(
        vocab_size=v, **FUSED, rope_parameters=LONG, original_max_position_embeddings=64
    ),
}
THROUGH_TRANSFORMERS = {"ministral3"}
"""Families whose blocks run as transformers wrote them, with attention exchanged."""


def small(family: str, folder: Path) -> Any:
    """A random model of a family, saved with a tokenizer; transformers' own, read again."""
    tokenizer = made_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_config(FAMILIES[family](len(tokenizer)))
        for parameter in model.parameters():
            # Wide, so that a mistake shows; norms' weights and biases, too.
            parameter.data.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    theirs: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return theirs.eval()


@pytest.fixture(scope="module", params=list(FAMILIES))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A family's name, the model as selfedit loads it, and transformers' own."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SELFEDIT_CACHE", str(folder / "cache"))
        theirs = small(request.param, folder / "model")
        return request.param, se.load(str(folder / "model"), device="cpu", dtype="float32"), theirs


def tokens(length: int) -> list[int]:
    return [(37 * n + 11 * length) % 300 + 3 for n in range(length)]


def their_logits(theirs: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return theirs(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def test_hidden_states_of_packed_sequences_are_transformers(pair) -> None:
    family, lm, theirs = pair
    texts = [tokens(length) for length in LENGTHS]
    plan = packed_attention(torch.tensor(LENGTHS).numpy(), lm.device, lm.dtype)
    flat, places = [t for text in texts for t in text], [n for k in LENGTHS for n in range(k)]
    with torch.no_grad():
        ours = lm.hidden(flat, places, plan)
        wanted = [
            theirs.base_model(input_ids=torch.tensor([ids]), use_cache=False)[0][0] for ids in texts
        ]
    torch.testing.assert_close(ours, torch.cat(wanted), rtol=1e-4, atol=1e-4)
    logits = torch.cat([their_logits(theirs, ids) for ids in texts])
    torch.testing.assert_close(lm.logits(ours), logits, rtol=1e-4, atol=1e-4)
    assert lm.known is (family not in THROUGH_TRANSFORMERS)


def test_greedy_texts_are_transformers(pair) -> None:
    _, lm, theirs = pair
    prompts = [tokens(length) for length in (LENGTHS[0], LENGTHS[-1])]
    for ids, ours in zip(prompts, se.generate(lm, prompts, max_new_tokens=NEW), strict=True):
        rows = torch.tensor([ids])
        written = theirs.generate(
            input_ids=rows,
            attention_mask=torch.ones_like(rows),
            do_sample=False,
            max_new_tokens=NEW,
            eos_token_id=sorted(lm.eos_ids),
        )
        assert list(ours.sampled) == written[0, len(ids) :].tolist()


def test_answers_are_as_likely_as_in_transformers(pair) -> None:
    _, lm, theirs = pair
    texts = [tuple(tokens(length)) for length in LENGTHS]
    golds = [(ids, tuple(n >= len(ids) // 2 for n in range(len(ids)))) for ids in texts]
    for (ids, marks), loss in zip(golds, answer_losses(lm, golds, [None] * 3), strict=True):
        each = F.cross_entropy(
            their_logits(theirs, list(ids))[:-1], torch.tensor(ids[1:]), reduction="none"
        )
        assert loss == pytest.approx(float(each[torch.tensor(marks[1:])].mean()), rel=1e-4)


def test_adapters_train_as_in_peft_and_load_there(pair, tmp_path: Path) -> None:
    family, lm, theirs = pair
    sequences = [TrainSequence(tuple(tokens(n)), (False, *[True] * (n - 1))) for n in LENGTHS]
    optim = se.OptimSpec(lr=5e-3, epochs=2, batch_size=2)
    job = se.AdaptJob(sequences, se.LoraSpec(rank=2, alpha=8), optim, seed=0)
    adapter, other = se.adapt(lm, [job, se.AdaptJob(sequences[:1], job.lora, optim, seed=5)])
    assert ("qkv_proj" in adapter.spec.targets) is family.startswith("phi")
    job = se.AdaptJob(sequences, adapter.spec, optim, seed=0)
    _, losses = train_with_peft(theirs, job, initial_values(theirs, job.lora, 0))
    assert adapter.losses == pytest.approx(losses, abs=1e-4)
    with_adapter = peft.PeftModel.from_pretrained(theirs, str(adapter.save(tmp_path)))
    wanted = their_logits(with_adapter, tokens(29))
    with_adapter.unload()
    again = se.Adapter.load(tmp_path)
    states = _last_states(lm, tokens(29), [again, other])
    torch.testing.assert_close(lm.logits(states[0]), wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(lm.logits(states[1]), wanted, atol=1e-2)


def _last_states(lm: se.LanguageModel, ids: list[int], adapters: list[se.Adapter]) -> list[Any]:
    from selfedit.lm.reading import hidden_states

    return list(hidden_states(lm, [ids] * len(adapters), adapters))


def test_a_long_rope_model_takes_what_it_was_first_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFEDIT_CACHE", str(tmp_path / "cache"))
    small("phi4-mini", tmp_path / "model")
    lm = se.load(str(tmp_path / "model"), device="cpu", dtype="float32")
    assert lm.max_tokens == 64
    with pytest.raises(se.SelfEditError, match="exceed the model's 64"):
        se.generate(lm, [tokens(60)], max_new_tokens=8)
    with pytest.raises(se.SelfEditError, match="the model takes 64"):
        _last_states(lm, tokens(65), [None])  # pyright: ignore[reportArgumentType]


def test_capped_losses_have_the_gradients_of_torch() -> None:
    from selfedit.lm.loss import head_loss
    from selfedit.lm.teacher import teacher_loss
    from selfedit.lm.token_logs import Choosing, token_logs

    generator = torch.Generator().manual_seed(0)
    hidden, teacher, head = (
        torch.randn(rows, 4, generator=generator, dtype=torch.float64) for rows in (5, 5, 7)
    )
    targets, weights = torch.arange(5), torch.ones(5, dtype=torch.float64)

    def logits(states: torch.Tensor) -> torch.Tensor:
        return 0.8 * torch.tanh(states @ head.T / 0.8)

    taught = F.log_softmax(logits(teacher), 1)
    ways = [
        (
            lambda h: head_loss(h, head, targets, weights, 0.8)[0],
            lambda h: F.cross_entropy(logits(h), targets, reduction="sum"),
        ),
        (
            lambda h: teacher_loss(h, head, teacher, weights, 0.8)[0],
            lambda h: F.kl_div(
                F.log_softmax(logits(h), 1), taught, reduction="sum", log_target=True
            ),
        ),
        (
            lambda h: token_logs(h, head, targets, Choosing(0.5, cap=0.8)).sum(),
            lambda h: -F.cross_entropy(logits(h) / 0.5, targets, reduction="sum"),
        ),
    ]
    for ours, wanted in ways:
        mine, theirs = (hidden.clone().requires_grad_() for _ in range(2))
        (2 * ours(mine)).backward()
        (2 * wanted(theirs)).backward()
        assert float(ours(hidden)) == pytest.approx(float(wanted(hidden)), rel=1e-9)
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-9)
    assert math.isfinite(float(ways[0][0](1e4 * hidden)))
