"""A model through transformers' own forward and backward pass first, and through ours afterwards.

What is compared, on two sequences of a few tokens: the logits where both are packed into one batch,
the logits where their last tokens are decoded one by one, and with a random adapter on the first
and the last layer the loss and its gradients. So a kind that mixes sequences, keeps a state of its
own, scales or biases what goes into the head, uses a linear module twice or for some tokens alone,
or has attention of its own, comes out otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from transformers import PreTrainedModel

from selfedit.lm.attention import NAME, Decode, KeyValueCache, Packed, Plan, Prefill, cache_shape
from selfedit.lm.bank import AdapterBank, BankLinear, adapts, layer_of, leaf
from selfedit.lm.block import last_hidden
from selfedit.lm.families import cap_of_logits, is_known
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.lm.loss import cap_logits
from selfedit.lm.segments import consecutive, make_segments

LENGTHS = (21, 13)
_READ = 7
"""Tokens of each sequence that are read at once before the others are decoded one by one."""
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
Matrices = dict[str, tuple[Tensor, Tensor]]
"""A and B of each module."""


class Differs(Exception):
    """What comes out otherwise than transformers computes it."""


@dataclass(frozen=True)
class OwnPasses:
    """What transformers makes of the sequences.

    Attributes:
        sequences: token ids, each ``[T]``.
        logits: of each, ``[T, V]``.
        adapter: random, on the first and the last layer; None where these have no linear modules.
        loss: mean over all next tokens, under that adapter.
        gradients: of the loss with respect to its A and B.
    """

    sequences: list[Tensor]
    logits: list[Tensor]
    adapter: Adapter | None
    loss: float
    gradients: Matrices


def own_passes(model: PreTrainedModel) -> OwnPasses:
    """Run transformers' own passes, before any part of the model is exchanged."""
    embedding: Any = model.get_input_embeddings()
    rows = embedding.weight.shape[0]
    numbers = torch.arange(sum(LENGTHS), device=model.device)
    sequences = list(((numbers * 7919 + 11) % rows).split(LENGTHS))
    adapter = _random_adapter(model)
    with _eager(model):
        with torch.no_grad():
            logits = [_own_logits(model, ids, {}) for ids in sequences]
        loss, gradients = _own_loss(model, sequences, adapter)
    return OwnPasses(sequences, logits, adapter, loss, gradients)


def compare_passes(model: PreTrainedModel, expected: OwnPasses) -> None:
    """Run ours and compare.

    Raises:
        Differs: says what comes out otherwise.
    """
    tolerance = _TOLERANCE.get(model.dtype, 1e-3)
    with torch.no_grad(), _counted(model, sum(LENGTHS)):
        packed = _our_logits(model, expected.sequences)
    _check_alike("its logits", torch.cat(list(packed)), torch.cat(expected.logits), tolerance)
    with torch.no_grad():
        decoded = _decoded_logits(model, expected.sequences)
    late = [logits[_READ : min(LENGTHS)] for logits in expected.logits]
    _check_alike("what it decodes", torch.cat(decoded), torch.cat(late), tolerance)
    if expected.adapter is not None:
        _compare_training(model, expected, expected.adapter, tolerance)


def _compare_training(
    model: PreTrainedModel, expected: OwnPasses, adapter: Adapter, tolerance: float
) -> None:
    bank = AdapterBank(model, [adapter.spec], train=True)
    bank.put(0, adapter)
    total = sum(LENGTHS)
    with bank.attached():
        bank.assign(make_segments([range(total)], model.device, model.dtype))
        loss = _loss(_our_logits(model, expected.sequences), expected.sequences)
        loss.backward()
    assert bank.grads is not None
    reached = float(loss.detach())
    if not abs(reached - expected.loss) <= tolerance * max(1.0, abs(expected.loss)):
        raise Differs(f"its loss in training is {reached:.4g} instead of {expected.loss:.4g}")
    ours, theirs = [], []
    for name, gradients in expected.gradients.items():
        a, b = bank.matrices(name, bank.grads[0])
        rank = adapter.spec.rank
        ours += [a[:rank].flatten(), b[:, :rank].flatten()]
        theirs += [gradient.flatten() for gradient in gradients]
    _check_alike("its gradients", torch.cat(ours).float(), torch.cat(theirs).float(), 3 * tolerance)


def _check_alike(what: str, ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    error = float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-6))
    if not error <= tolerance:  # also where it is no number
        raise Differs(f"{what} come out otherwise than transformers computes them")


def _our_logits(model: PreTrainedModel, sequences: Sequence[Tensor]) -> tuple[Tensor, ...]:
    lengths = [len(ids) for ids in sequences]
    plan = Packed(make_segments(consecutive(lengths), model.device, model.dtype))
    positions = torch.cat([torch.arange(n, device=model.device) for n in lengths])
    return _logits(model, torch.cat(list(sequences)), positions, plan).split(lengths)


def _decoded_logits(model: PreTrainedModel, sequences: Sequence[Tensor]) -> list[Tensor]:
    """The logits of each sequence's tokens from `_READ` on, decoded one by one, ``[n, V]``."""
    count, device = len(sequences), model.device
    layers, heads, size = cache_shape(model.config)
    cache = KeyValueCache(layers, count, heads, max(LENGTHS), size, _head(model))
    packed = Packed(make_segments(consecutive([_READ] * count), device, model.dtype))
    within = torch.arange(_READ, device=device).repeat(count)
    rows = torch.arange(count, device=device).repeat_interleave(_READ)
    source = torch.arange(count * _READ, device=device)
    first = torch.cat([ids[:_READ] for ids in sequences])
    _logits(model, first, within, Prefill(packed, rows, within, source, cache))
    steps = min(LENGTHS) - _READ
    columns = [
        _logits(
            model,
            torch.stack([ids[_READ + step] for ids in sequences]),
            torch.full((count,), _READ + step, device=device),
            Decode(cache, torch.full((count,), _READ + step, device=device)),
        )
        for step in range(steps)
    ]
    return [torch.stack([column[row] for column in columns]) for row in range(count)]


def _logits(model: PreTrainedModel, ids: Tensor, positions: Tensor, plan: Plan) -> Tensor:
    hidden = last_hidden(model, ids, positions, plan, known=is_known(model))
    return cap_logits(hidden @ _head(model).T, cap_of_logits(model.config)).float()  # [T, V]


def _head(model: PreTrainedModel) -> Tensor:
    """The output matrix, ``[V, D]``."""
    head: Any = model.get_output_embeddings()
    return head.weight


def _own_logits(model: PreTrainedModel, ids: Tensor, weights: dict[str, Tensor]) -> Tensor:
    inputs = {"input_ids": ids[None], "use_cache": False}
    return functional_call(model, weights, kwargs=inputs).logits[0].float()


def _own_loss(
    model: PreTrainedModel, sequences: Sequence[Tensor], adapter: Adapter | None
) -> tuple[float, Matrices]:
    if adapter is None:
        return 0.0, {}
    matrices: Matrices = {}
    weights: dict[str, Tensor] = {}
    for name, (a, b) in adapter.tensors.items():
        a, b = (each.to(model.device).requires_grad_() for each in (a, b))
        matrices[name] = a, b
        weight: Any = model.get_submodule(name).weight
        weights[f"{name}.weight"] = weight + (adapter.spec.scale * (b @ a)).to(weight.dtype)
    loss = _loss([_own_logits(model, ids, weights) for ids in sequences], sequences)
    loss.backward()
    gradients = {
        name: tuple(torch.zeros_like(each) if each.grad is None else each.grad for each in pair)
        for name, pair in matrices.items()
    }
    return float(loss.detach()), gradients  # pyright: ignore[reportReturnType] - pairs stay pairs


def _loss(logits: Sequence[Tensor], sequences: Sequence[Tensor]) -> Tensor:
    """Of every token after the first of each sequence."""
    guesses = torch.cat([of_one[:-1] for of_one in logits])
    return F.cross_entropy(guesses, torch.cat([ids[1:] for ids in sequences]))


def _random_adapter(model: PreTrainedModel) -> Adapter | None:
    head = model.get_output_embeddings()
    modules: dict[str, nn.Linear] = {
        name: module
        for name, module in model.named_modules()
        if type(module) is nn.Linear and module is not head and layer_of(name) is not None
    }
    if not modules:
        return None
    numbers = {number for name in modules if (number := layer_of(name)) is not None}
    leaves = tuple(sorted({leaf(name) for name in modules}))
    spec = LoraSpec(2, 2.0, leaves, layers=(min(numbers), max(numbers)))
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: (
            torch.randn(2, module.in_features, generator=generator) * module.in_features**-0.5,
            torch.randn(module.out_features, 2, generator=generator) * 0.05,
        )
        for name, module in modules.items()
        if adapts(spec, name)
    }
    return Adapter(spec, tensors)


@contextmanager
def _eager(model: PreTrainedModel) -> Iterator[None]:
    model.set_attn_implementation("eager")
    try:
        if model.config._attn_implementation != "eager":
            raise Differs("its attention is of its own, and cannot be exchanged for ours")
        yield
    finally:
        model.set_attn_implementation(NAME)


@contextmanager
def _counted(model: PreTrainedModel, tokens: int) -> Iterator[None]:
    """See that each linear module that may get an adapter runs once, on every token."""
    rows_of: dict[str, list[int]] = {}

    def watch(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            assert isinstance(module, BankLinear)
            rows_of.setdefault(name, []).append(inputs[0].numel() // module.in_features)

        return hook

    handles = [
        module.register_forward_pre_hook(watch(name))
        for name, module in model.named_modules()
        if isinstance(module, BankLinear)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if odd := [name for name, rows in rows_of.items() if rows != [tokens]]:
        raise Differs(f"its linear module {odd[0]} does not run once, on every token")
