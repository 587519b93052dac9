"""A careful one-at-a-time loop with PEFT: what somebody who knows what they do writes without this
library.

No Trainer, no padding beyond a batch's own, fused AdamW, the loss of the marked tokens only. It
draws the same initial values and the same data order as `selfedit.adapt`, so its losses are ours up
to rounding.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel, get_scheduler

from benchmarks.extras import peft
from selfedit.inner.job import AdaptJob, TrainSequence
from selfedit.inner.order import batches
from selfedit.lm.bank import AdapterBank, install
from selfedit.lm.lora import LoraSpec

SCHEDULERS = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
"""What transformers calls our schedules."""

Matrices = dict[str, tuple[Tensor, Tensor]]


def initial_values(model: PreTrainedModel, spec: LoraSpec, seed: int) -> Matrices:
    """The matrices our bank starts such a job from; ``model`` is transformers' own and stays as it
    is.
    """
    twin = copy.deepcopy(
        model, {id(p): p for p in model.parameters()}
    )  # modules are copied, weights are shared
    install(twin)
    bank = AdapterBank(twin, [spec])
    bank.initialise(0, seed)
    return bank.take(0)


def attach(base: PreTrainedModel, spec: LoraSpec) -> Any:
    """PEFT's model of a base with one new adapter; ``unload()`` gives the base back."""
    config = peft().LoraConfig(
        task_type="CAUSAL_LM",
        r=spec.rank,
        lora_alpha=spec.alpha,
        target_modules=list(spec.targets),
        layers_to_transform=None if spec.layers is None else list(spec.layers),
        lora_dropout=spec.dropout,
    )
    return peft().get_peft_model(
        base, config, autocast_adapter_dtype=base.dtype in (torch.bfloat16, torch.float16)
    )


def train_with_peft(
    base: PreTrainedModel,
    job: AdaptJob,
    initial: Matrices,
    on_step: Callable[[], None] = lambda: None,
) -> tuple[dict[str, Tensor], list[float]]:
    """Every module's weight update, and the loss of every step; ``base`` is left as it was."""
    optim = job.optim
    model = attach(base, job.lora)
    modules = {
        n.removeprefix("base_model.model."): m
        for n, m in model.named_modules()
        if hasattr(m, "lora_A")
    }
    assert set(modules) == set(initial)
    for name, (a, b) in initial.items():
        modules[name].lora_A["default"].weight.data.copy_(a)
        modules[name].lora_B["default"].weight.data.copy_(b)
    trained = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(
        trained, optim.lr, optim.betas, optim.eps, optim.weight_decay, fused=True
    )
    steps = optim.epochs * math.ceil(len(job.sequences) / optim.batch_size)
    schedule = get_scheduler(SCHEDULERS[optim.schedule], adam, optim.warmup_steps, steps)
    losses = []
    for batch in batches(job, [len(s.ids) for s in job.sequences if isinstance(s, TrainSequence)]):
        loss = padded_loss(model, [job.sequences[i] for i in batch.indices])
        loss.backward()
        if optim.clip is not None:
            torch.nn.utils.clip_grad_norm_(trained, optim.clip)
        adam.step()
        schedule.step()
        adam.zero_grad()
        losses.append(loss.item())
        on_step()
    assert len(losses) == steps
    deltas = {name: module.get_delta_weight("default").detach() for name, module in modules.items()}
    model.unload()
    return deltas, losses


def padded_loss(model: Any, batch: Sequence[str | TrainSequence]) -> Tensor:
    """Mean cross entropy of the marked tokens of right-padded sequences; a batch of one has no
    padding and no mask.
    """
    sequences = [s for s in batch if isinstance(s, TrainSequence)]
    longest = max(len(s.ids) for s in sequences)
    device = next(model.parameters()).device
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, sequence in enumerate(sequences):
        n = len(sequence.ids)
        ids[row, :n] = torch.tensor(sequence.ids)
        mask[row, :n] = 1
        labels[row, :n] = torch.where(torch.tensor(sequence.loss), ids[row, :n], -100)
    ids, mask, labels = (t.to(device) for t in (ids, mask, labels))
    logits = model(input_ids=ids, attention_mask=None if len(sequences) == 1 else mask).logits
    wide = logits[:, :-1].to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(wide.flatten(0, 1), labels[:, 1:].flatten())
