"""Decoding side by side: this library's, and transformers' ``generate`` under PEFT.

Nothing ends a text here but its length, so that all contestants write equally many tokens, and all
decode greedily. The
adapters are random: what they say does not matter, what they cost does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.extras import peft
from benchmarks.work import BenchWork
from selfedit.lm.generate import generate
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.lm.shape import Shape
from selfedit.models.quiet import quiet

NONE = -1
"""The number of no adapter."""


def random_adapter(shape: Shape, spec: LoraSpec, number: int) -> Adapter:
    """An adapter of small random matrices, the same for the same number."""
    generator = torch.Generator().manual_seed(number)
    homes = {
        "q_proj": "self_attn",
        "k_proj": "self_attn",
        "v_proj": "self_attn",
        "o_proj": "self_attn",
    }
    tensors = {}
    for layer in range(shape.layers):
        for target in spec.targets:
            into, out = shape.modules[target]
            a, b = (
                0.01 * torch.randn(size, generator=generator)
                for size in ((spec.rank, into), (out, spec.rank))
            )
            tensors[f"model.layers.{layer}.{homes.get(target, 'mlp')}.{target}"] = (a, b)
    return Adapter(spec, tensors)


def to_answer(
    lm: LanguageModel, work: BenchWork, rows: Sequence[Sequence[int]], spec: LoraSpec
) -> tuple[LanguageModel, list[tuple[int, ...]], list[Adapter | None]]:
    """A model that no token ends, and of every row (adapter, inner loop, question) its prompt and
    its adapter.
    """
    shape = Shape.of(lm.model.config)
    made = {k: random_adapter(shape, spec, k) for k in {row[0] for row in rows} - {NONE}}
    prompts = [work.prompts[loop][question] for _, loop, question in rows]
    return replace(lm, eos_ids=frozenset()), prompts, [made.get(k) for k, _, _ in rows]


def ours(
    lm: LanguageModel,
    work: BenchWork,
    rows: Sequence[Sequence[int]],
    spec: LoraSpec,
    new_tokens: int,
    now: Callable[[], float],
) -> dict[str, Any]:
    """All rows in one call; a row is (adapter, inner loop, question)."""
    endless, prompts, adapters = to_answer(lm, work, rows, spec)
    generate(endless, prompts[:1], adapters[:1], max_new_tokens=2)
    start = now()
    said = generate(endless, prompts, adapters, max_new_tokens=new_tokens)
    return {
        "seconds": now() - start,
        "tokens": sum(len(c.ids) for c in said),
        "ids": [list(c.ids) for c in said],
    }


def theirs(
    base: Any,
    work: BenchWork,
    batches: Sequence[Sequence[Sequence[int]]],
    spec: LoraSpec,
    new_tokens: int,
    now: Callable[[], float],
) -> dict[str, Any]:
    """One batch after another, left-padded, each under its one adapter."""
    numbers = sorted({row[0] for batch in batches for row in batch} - {NONE})
    base.generation_config.eos_token_id = (
        None  # min_new_tokens would forbid the token instead of reading past it
    )
    model = _with_adapters(base, spec, numbers) if numbers else base
    _write(model, work, batches[0][:1], 2)
    start = now()
    ids = []
    for batch in batches:
        if batch[0][0] != NONE:
            model.set_adapter(f"a{batch[0][0]}")
        ids += _write(model, work, batch, new_tokens)
    return {"seconds": now() - start, "tokens": sum(map(len, ids)), "ids": ids}


def _with_adapters(base: Any, spec: LoraSpec, numbers: Sequence[int]) -> Any:
    shape, model = Shape.of(base.config), None
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            place = random_adapter(shape, spec, number).save(Path(folder) / str(number))
            if model is None:
                model = peft().PeftModel.from_pretrained(base, place, adapter_name=f"a{number}")
            else:
                model.load_adapter(place, adapter_name=f"a{number}")
    return model


@torch.inference_mode()
def _write(
    model: Any, work: BenchWork, batch: Sequence[Sequence[int]], new_tokens: int
) -> list[list[int]]:
    prompts = [work.prompts[loop][question] for _, loop, question in batch]
    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long, device=model.device)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    with quiet():
        out = model.generate(
            input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=new_tokens,
            pad_token_id=0, temperature=None, top_p=None, top_k=None,
        )  # fmt: skip
    return out[:, longest:].tolist()
