"""Whether a vLLM server has the run's model, cuts texts as it does, and computes the same under an
adapter.

The server goes on from fixed texts, greedily; the run's model says how likely it finds what the
server wrote. Prompts' own log-probabilities would say the same and more, but asking for those of
several at once ends a server that can load adapters (vLLM's issue 16668).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from selfedit.config import Settings
from selfedit.lm.bank_product import BankLinear
from selfedit.lm.likelihood import answer_losses
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.sampling.vllm_adapters import lent
from selfedit.sampling.vllm_server import START, VllmServer
from selfedit.sampling.vllm_texts import read_tokens

PROBES = (
    "The library opens at nine in the morning, and the children are waiting at the",
    "def mean(values):\n    return sum(values) / len(",
    "In 1969 two people walked on the Moon; a third one stayed in",
)
"""What the server goes on from."""
TOKENS = 8
"""Written after each."""


@dataclass(frozen=True)
class Checked:
    """A server that has passed.

    Attributes:
        model: its name for the run's model.
        longest: tokens it takes, prompt and answer together; 0 where it does not say.
        processed: its log-probabilities are of the distribution it draws from, else the model's.
        logs: its mean log-probability of what it wrote after each of `PROBES`.
    """

    model: str
    longest: int
    processed: bool
    logs: tuple[float, ...]


def check_server(
    server: VllmServer, lm: LanguageModel, settings: Settings, fix: str, before: Checked | None
) -> Checked:
    """Hold a server to the run's model.

    Args:
        server: the server.
        lm: the run's model.
        settings: the run's; they say how large adapters become.
        fix: what to do where it has another model.
        before: what it was with the weights before these.

    Raises:
        Unavailable: it is not there, has another model, or cannot do what the run needs.
    """
    card = server.connect()
    model = str(card["id"])
    prompts = [lm.encode(text) for text in PROBES]
    for text, prompt in zip(PROBES, prompts, strict=True):
        if server.tokens(text) != list(prompt):
            raise server.failed("the vLLM server cuts texts into other tokens than the model", fix)
    ours, theirs = _both(server, lm, model, prompts, None)
    # A server that was given no new weights still says what it said.
    stale = before is not None and _distance(theirs, before.logs) < _distance(theirs, ours)
    if stale or _distance(ours, theirs) > settings.vllm.tolerance:
        what = (
            f"the vLLM server has another model: {_as_text(theirs)} nats a token of what it writes"
        )
        raise server.failed(f"{what}, {_as_text(ours)} by the run's model", fix)
    if settings.eval.sampler == "vllm" or settings.rl.mstep.merge is not True:
        _check_adapter(server, lm, settings, prompts)
    longest = card.get("max_model_len")
    processed = _has_processed_logs(server, model, prompts[0])
    return Checked(model, longest if isinstance(longest, int) else 0, processed, tuple(theirs))


def _check_adapter(
    server: VllmServer, lm: LanguageModel, settings: Settings, prompts: Sequence[tuple[int, ...]]
) -> None:
    adapter = probe_adapter(lm, settings)
    with lent(server, [adapter]) as loaded:
        ours, theirs = _both(server, lm, loaded.name(0), prompts, adapter)
    if _distance(ours, theirs) > settings.vllm.tolerance:
        what = f"the vLLM server computes other things under an adapter: {_as_text(theirs)}"
        message = f"{what} nats a token of what it writes, {_as_text(ours)} by the run's model"
        raise server.failed(message, "update it, or set sampler and eval.sampler to local")


def _both(
    server: VllmServer,
    lm: LanguageModel,
    name: str,
    prompts: Sequence[tuple[int, ...]],
    adapter: Adapter | None,
) -> tuple[list[float], list[float]]:
    """The mean log-probability of what the server writes after each prompt, by the run's model and
    by the server, in nats a token.
    """
    texts, theirs = [], []
    for prompt in prompts:
        body = {"temperature": 0, "ignore_eos": True, "return_token_ids": True, "logprobs": 0}
        request: dict[str, Any] = {"model": name, "prompt": list(prompt), "max_tokens": TOKENS}
        reply = server.ask("completions", body | request)
        tokens, logs = read_tokens(lm, reply, TOKENS, server.failed)
        if not logs:
            raise server.failed("the vLLM server gives no log-probabilities", f"start it: {START}")
        # Only what the server wrote: how it reads the prompt shows in that.
        marks = (*[False] * len(prompt), *[True] * len(tokens))
        texts.append(((*prompt, *tokens), marks))
        theirs.append(sum(logs) / len(logs))
    return [-loss for loss in answer_losses(lm, texts, [adapter] * len(texts))], theirs


def _has_processed_logs(server: VllmServer, model: str, prompt: Sequence[int]) -> bool:
    """Where one token alone is allowed it is certain, in the distribution drawn from."""
    body = {"prompt": list(prompt), "max_tokens": 1, "allowed_token_ids": [0], "logprobs": 0}
    reply = server.ask("completions", body | {"model": model})
    try:
        return float(reply["choices"][0]["logprobs"]["token_logprobs"][0]) > -1e-3
    except (LookupError, TypeError, ValueError) as error:
        fix = f"start it: {START}"
        raise server.failed("the vLLM server gives no log-probabilities", fix) from error


def probe_adapter(lm: LanguageModel, settings: Settings) -> Adapter:
    """An adapter of the rank of the largest that the run gives the server, on the first module of
    each kind; its numbers are drawn.
    """
    policy, inner = settings.rl.mstep.lora, settings.inner.lora
    # A policy kept apart from the weights gains its rank every round.
    rank = max(1, settings.rl.rounds) * policy.rank
    rank += inner.rank if settings.eval.sampler == "vllm" else 0
    targets = {*policy.targets, *inner.targets}
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for name, module in lm.model.named_modules():
        kind = name.rsplit(".", 1)[-1]
        if isinstance(module, BankLinear) and kind in targets:
            targets.remove(kind)
            a = torch.randn(rank, module.in_features, generator=generator)
            b = torch.randn(module.out_features, rank, generator=generator)
            tensors[name] = (a, b * float(module.weight.float().std()) / rank**0.5)
    # One layer's worth: all layers of a large model would be a file of gigabytes.
    kinds = tuple(sorted({name.rsplit(".", 1)[-1] for name in tensors}))
    return Adapter(LoraSpec(rank=rank, alpha=rank, targets=kinds), tensors, base=lm.name)


def _distance(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


def _as_text(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
