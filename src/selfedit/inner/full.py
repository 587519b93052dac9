"""Full finetuning: AdamW over every weight, in one process or with the weights shared out over
several (FSDP2).

The weights being trained, their gradients and both moments are float32; products may be formed in
bfloat16. A batch is added up from forward passes of a few sequences. With W processes each takes
every W-th sequence of a batch; the loss and the gradient are those of the whole batch, so the
number of processes changes nothing but rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM

from selfedit.errors import DataError, UsageError
from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
from selfedit.inner.order import batches
from selfedit.lm.families import cap_of_logits, longest_sequence
from selfedit.lm.loss import CHUNK_BYTES, cap_logits
from selfedit.models.quiet import quiet

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class FullSpec:
    """Settings of full finetuning.

    Attributes:
        optim: AdamW; its ``warmup_steps`` are not used.
        warmup: share of the steps over which the rate rises from 0.
        rows: sequences in one forward pass.
        compute: what products are formed in.
        seed: data order.
    """

    optim: OptimSpec = field(default_factory=lambda: OptimSpec(lr=7e-5, epochs=1, batch_size=8))
    warmup: float = 0.03
    rows: int = 1
    compute: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0


class FullTraining:
    """One training in progress; every process of it makes one, with the same arguments.

    Args:
        folder: the model to start from, in transformers' layout.
        sequences: what to train on.
        spec: how.
        device: this process's device; None asks accelerate, which reads how the process was
            started.

    Attributes:
        losses: mean loss of every step's batch so far, in nats a token.
        tokens: training tokens so far.
        steps: steps in all.
        main: whether this is the process that writes files.

    Raises:
        DataError: nothing to train on, or a sequence longer than the model takes.
    """

    def __init__(
        self,
        folder: Path,
        sequences: Sequence[TrainSequence],
        spec: FullSpec,
        device: torch.device | None = None,
    ) -> None:
        from accelerate import PartialState

        # accelerate reads how the process was started: rank, world size, device.
        state = PartialState(cpu=device is not None and device.type == "cpu")
        self.rank, self.world, self.main = (
            state.process_index,
            state.num_processes,
            state.is_main_process,
        )
        # Beyond one process accelerate hands out the devices, whatever the caller named.
        assigned: Any = state.device
        self.device = torch.device(assigned) if device is None or self.world > 1 else device
        self.sequences = list(sequences)
        self.model = _read_model(folder).to(self.device)  # pyright: ignore[reportArgumentType]
        self._check(longest_sequence(self.model.config))
        # A job of the inner loop gives steps and data order: one rule for both trainings.
        job = AdaptJob(self.sequences, optim=spec.optim, seed=spec.seed)
        self.steps = job.steps
        self.spec = replace(
            # The paper's warm-up is a share of the steps, an OptimSpec's a number.
            spec,
            optim=replace(spec.optim, warmup_steps=math.ceil(spec.warmup * job.steps)),
        )
        lengths = [len(sequence.ids) for sequence in self.sequences]
        self.order = [batch.indices for batch in batches(job, lengths)]
        self.module = _Loss(self.model)
        # After the whole model was read: every process reads it, then keeps its part.
        if self.world > 1:
            _share_out(self.module, self.model)
        # After sharing out: the optimiser must hold the parts, not what was replaced by them.
        self.named = dict(self.module.model.named_parameters())
        _assert_master(self.named)
        optim = self.spec.optim
        self.optimiser = torch.optim.AdamW(
            self.named.values(),
            lr=optim.lr,
            betas=optim.betas,
            eps=optim.eps,
            weight_decay=optim.weight_decay,
            # One kernel for all parameters of a device.
            fused=True,
        )
        self.losses: list[float] = []
        self.tokens = 0

    def _check(self, limit: int) -> None:
        if not self.sequences:
            raise DataError(
                "there is nothing to train on",
                where="full finetuning",
                fix="give at least one document",
            )
        for number, sequence in enumerate(self.sequences):
            if not 1 < len(sequence.ids) <= limit or not any(sequence.loss[1:]):
                what = (
                    f"a document has {len(sequence.ids)} tokens, the model takes 2 to {limit}, some"
                    " with loss"
                )
                raise DataError(what, where=f"document {number}", fix="split it, or leave it out")

    @property
    def finished(self) -> bool:
        """Whether every step is done."""
        return len(self.losses) == self.steps

    def step(self) -> float:
        """One optimiser step; returns the loss of its batch, the same on every process."""
        indices = self.order[len(self.losses)]
        chosen = [self.sequences[index] for index in indices]
        # Tokens with loss in the whole batch, on every process alike: each pass divides by it.
        marked = sum(sum(s.loss[1:]) for s in chosen)
        passes = self._passes(chosen)
        total = torch.zeros((), device=self.device)
        for number, rows in enumerate(passes):
            if isinstance(self.module, FSDPModule):
                # Gradients are exchanged once a batch, in its last pass; before that they are
                # added up locally.
                self.module.set_requires_gradient_sync(number == len(passes) - 1)
            with torch.autocast(
                self.device.type, torch.bfloat16, enabled=self.spec.compute == "bfloat16"
            ):
                loss = self.module(*_padded_rows(rows, marked, self.device))
            # FSDP2 takes the mean of the processes' gradients; the batch's is their sum.
            (loss * self.world).backward()
            total += loss.detach()
        if self.world > 1:
            # Only for the report: each process has seen its part of the loss.
            torch.distributed.all_reduce(total)
        self._update()
        self.losses.append(float(total))
        self.tokens += sum(len(s.ids) for s in chosen)
        return self.losses[-1]

    def _passes(self, chosen: Sequence[TrainSequence]) -> list[list[tuple[TrainSequence, bool]]]:
        """This process's share of a batch, in forward passes; as many as every other process has.

        Where a process has fewer sequences it reads one without loss: all must meet at the same
        collectives.
        """
        size = self.spec.rows
        share = [(sequence, True) for sequence in chosen[self.rank :: self.world]]
        count = math.ceil(math.ceil(len(chosen) / self.world) / size)
        split = [share[start : start + size] for start in range(0, len(share), size)]
        return [rows or [(chosen[0], False)] for rows in [*split, *[[]] * (count - len(split))]]

    def _update(self) -> None:
        optim = self.spec.optim
        if optim.clip is not None:
            # FSDP2's norm is over all processes: its parameters are DTensors.
            nn.utils.clip_grad_norm_(self.named.values(), optim.clip)
        # The rate is set before the step: the n-th step uses the n-th rate.
        self.optimiser.param_groups[0]["lr"] = optim.rate(len(self.losses), self.steps)
        self.optimiser.step()
        # None instead of zeros frees the memory until the next backward pass.
        self.optimiser.zero_grad(set_to_none=True)

    def weights(self) -> dict[str, Tensor]:
        """The weights, whole, on the CPU; a collective: every process must call it. Only `main`
        gets any.
        """
        return self._gathered(dict(self.named))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What `take_up` needs to go on from here: tensors and plain data; a collective, as
        `weights`.
        """
        tensors: dict[str, Any] = {f"weight.{name}": value for name, value in self.named.items()}
        for name, value in self.named.items():
            tensors |= {f"{part}.{name}": self.optimiser.state[value][part] for part in MOMENTS}
        return self._gathered(tensors), {"losses": self.losses, "tokens": self.tokens}

    def take_up(self, tensors: Any, about: Mapping[str, Any]) -> None:
        """Go on from what `state` gave, also with another number of processes.

        Args:
            tensors: a mapping from name to whole tensor, which may read each only when it is asked
                for.
            about: the plain data.
        """
        done = len(about["losses"])
        with torch.no_grad():
            # Each tensor is read, placed and let go before the next: a 7B model's moments alone
            # are 60 GB.
            for name, value in self.named.items():
                value.copy_(_like(tensors[f"weight.{name}"], value))
                moments = {part: _like(tensors[f"{part}.{name}"], value) for part in MOMENTS}
                count = torch.tensor(float(done), device=self.device)
                self.optimiser.state[value] = {"step": count, **moments}
        self.losses, self.tokens = list(about["losses"]), int(about["tokens"])

    def _gathered(self, tensors: dict[str, Any]) -> dict[str, Tensor]:
        gathered: dict[str, Tensor] = {}
        for name, value in tensors.items():
            full: Any = value.detach()
            # A collective: processes that write nothing must call it too.
            full = full.full_tensor() if isinstance(value, DTensor) else full
            if self.main:
                # A copy: on a CPU `to` would hand out the very weights that go on being trained.
                gathered[name] = full.to("cpu", copy=True).contiguous()
        return gathered


class _Loss(nn.Module):
    """The model and its loss as one module: the output matrix is used inside, where FSDP2 has its
    weights together.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(
        self, ids: Tensor, mask: Tensor, rows: Tensor, targets: Tensor, weights: Tensor
    ) -> Tensor:
        """Weighted next-token loss; ids and mask ``[n, L]``, the rest ``[N]``, one a token that
        carries loss.
        """
        hidden = self.model.base_model(
            input_ids=ids, attention_mask=mask, use_cache=False
        ).last_hidden_state
        hidden = hidden.flatten(0, 1).index_select(0, rows)  # [N, D]
        head = self.model.get_output_embeddings().weight
        # In float32: the logits are cast before the loss.
        step = max(1, CHUNK_BYTES // (head.shape[0] * 4))
        parts = [
            checkpoint(
                _chunk,
                *(t[start : start + step] for t in (hidden, targets, weights)),
                head,
                cap_of_logits(self.model.config),
                use_reentrant=False,
            )
            for start in range(0, len(rows), step)
        ]
        return torch.stack(parts).sum()  # pyright: ignore[reportArgumentType, reportCallIssue]


def _chunk(
    hidden: Tensor, targets: Tensor, weights: Tensor, head: Tensor, cap: float | None
) -> Tensor:
    """Logits of a few tokens at a time, formed again in the backward pass: never those of a whole
    batch.
    """
    logits = cap_logits((hidden @ head.T).float(), cap)
    return (cross_entropy(logits, targets, reduction="none") * weights).sum()


def _read_model(folder: Path) -> Any:
    with quiet():
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            attn_implementation="sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
    return model.train()


def _share_out(module: nn.Module, model: Any) -> None:
    """FSDP2: every layer's weights are shared out by themselves, the rest together."""
    # Layer by layer: only one layer's weights are gathered at a time.
    for layer in model.base_model.layers:
        fully_shard(layer)
    fully_shard(module)


def _assert_master(named: dict[str, nn.Parameter]) -> None:
    """Steps of lr 7e-5 vanish in bfloat16 weights: what is trained must be float32."""
    if wrong := [f"{name} ({p.dtype})" for name, p in named.items() if p.dtype != torch.float32]:
        fix = (
            "this is a mistake in selfedit: weights are read as float32 whatever the model's files"
            " hold"
        )
        raise UsageError("weights to train are not float32", where=", ".join(wrong[:3]), fix=fix)


def _padded_rows(
    rows: Sequence[tuple[TrainSequence, bool]], marked: int, device: torch.device
) -> list[Tensor]:
    """Sequences padded on the right, and where their loss is: token t is predicted by row t − 1."""
    length = max(len(s.ids) for s, _ in rows)
    ids = [[*s.ids, *[s.ids[-1]] * (length - len(s.ids))] for s, _ in rows]
    mask = [[1] * len(s.ids) + [0] * (length - len(s.ids)) for s, _ in rows]
    places = [
        (n, t, counts)
        for n, (s, counts) in enumerate(rows)
        for t in range(1, len(s.ids))
        if s.loss[t]
    ]
    columns: list[Any] = [
        ids,
        mask,
        [n * length + t - 1 for n, t, _ in places],
        [rows[n][0].ids[t] for n, t, _ in places],
    ]
    weights = torch.tensor([counts / marked for *_, counts in places], device=device)
    return [*[torch.tensor(each, device=device) for each in columns], weights]


def _like(full: Tensor, value: Tensor) -> Tensor:
    """A whole tensor as this process's part of it is held."""
    full = full.to(value.device, torch.float32)
    if isinstance(value, DTensor):
        return distribute_tensor(full, value.device_mesh, value.placements)
    return full.clone()
