"""The adapter bank: K LoRA adapters on one frozen base, in one forward and one backward pass.

Every target module holds its K adapters as stacked matrices ``A [K, r, in]`` and ``B [K, out, r]``.
All of them are views of one buffer ``[K, P]``: row k is adapter k as a flat vector, so an
optimiser, a norm or a copy of one adapter is one operation. Adapters of smaller rank, or without
some module, are padded with zeros, which stay exactly zero in
training: the gradient of a zero row of A is a product with the zero column of B beside it, and the
other way round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from selfedit.errors import UsageError
from selfedit.lm.bank_product import BankLinear, BankSlot, Route
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.lm.memory import keep_memory


class Part(NamedTuple):
    """Where a module's A ``[r, in]`` and B ``[out, r]`` lie in a row of the bank: all the As first,
    then all the Bs.
    """

    a: slice
    b: slice


class AdapterBank:
    """K adapters of possibly different rank, alpha, targets and layers on one model.

    Args:
        model: a transformers model whose linear modules are `BankLinear` (`selfedit.load` sees to
            it).
        specs: one `LoraSpec` an adapter.
        rows: adapters at once, where fewer than ``specs`` fit and the others take a row later; one
            a spec if not given.
        train: keep master values and gradients.
        narrow_gradients: keep the gradients in the dtype that the products made them in: half the
            memory on a GPU.
        masters: keep the values in float32 or wider even where the model computes in less; not
            needed to answer only.

    Attributes:
        values: all parameters, ``[K, P]``, never below float32 in training; row k is adapter k.
        computed: the same in the dtype that the model computes in, what products read; ``values``
            itself where equal.
        grads: gradients, ``[K, P]``; None unless the bank is for training.
    """

    def __init__(
        self,
        model: nn.Module,
        specs: Sequence[LoraSpec],
        *,
        rows: int | None = None,
        train: bool = False,
        masters: bool = True,
        narrow_gradients: bool = False,
    ) -> None:
        # With fewer rows than specs, the first specs stand for the rows until `begin` gives them
        # others.
        self.specs = list(specs[:rows])
        modules = {name: m for name, m in model.named_modules() if isinstance(m, BankLinear)}
        targets = {target for spec in specs for target in spec.targets}
        # Before anything is allocated: a misspelt target is a user's mistake, not an empty
        # adapter.
        _check_targets(targets, {n: m for n, m in modules.items() if leaf(n) in targets}, modules)
        _check_layers(specs, modules)
        self.modules = {
            name: m for name, m in modules.items() if any(adapts(spec, name) for spec in specs)
        }
        weight = next(iter(self.modules.values())).weight
        if weight.device.type == "cpu":
            keep_memory()
        # One rank for all rows: smaller adapters are padded with zero rows of A.
        self.rank = _padded_rank(max(spec.rank for spec in specs), weight)
        self.parts = dict(self._parts())
        # P: where the last B ends, numbers of one adapter.
        count = max(part.b.stop for part in self.parts.values())
        # Steps of 1e-4 vanish in bfloat16 values, so what is trained is never kept below float32.
        dtype = (
            torch.promote_types(weight.dtype, torch.float32) if train or masters else weight.dtype
        )
        self.values = torch.zeros(len(self.specs), count, device=weight.device, dtype=dtype)
        # The very same tensor where the types agree: a step then updates what products read.
        self.computed = self.values if dtype == weight.dtype else self.values.to(weight.dtype)
        grads = weight.dtype if narrow_gradients else dtype
        self.grads = (
            torch.zeros(self.values.shape, device=weight.device, dtype=grads) if train else None
        )
        self.scale = torch.tensor(
            [spec.scale for spec in self.specs], device=weight.device, dtype=dtype
        )[:, None, None]
        self.slots = dict(self._slots())

    def _parts(self) -> Iterator[tuple[str, Part]]:
        start_a, start_b = (
            0,
            self.rank * sum(module.in_features for module in self.modules.values()),
        )
        for name, module in self.modules.items():
            end_a = start_a + self.rank * module.in_features
            end_b = start_b + self.rank * module.out_features
            yield name, Part(slice(start_a, end_a), slice(start_b, end_b))
            start_a, start_b = end_a, end_b

    def _slots(self) -> Iterator[tuple[str, BankSlot]]:
        anchor = (
            None
            if self.grads is None
            # Empty, so it costs nothing: all that counts is that it requires a gradient.
            else torch.zeros(0, device=self.values.device, requires_grad=True)
        )
        # A bank that only answers needs no gradients, but a slot wants tensors of the right shape.
        grads = self.computed if self.grads is None else self.grads
        for name in self.modules:
            yield (
                name,
                BankSlot(
                    *self.matrices(name, self.computed),
                    *self.matrices(name, grads),
                    self.scale,
                    anchor,
                ),
            )

    def matrices(self, name: str, rows: Tensor) -> tuple[Tensor, Tensor]:
        """A module's A ``[…, r, in]`` and B ``[…, out, r]`` as views of rows like the bank's, ``[…,
        P]``.
        """
        part, module = self.parts[name], self.modules[name]
        a = rows[..., part.a].view(*rows.shape[:-1], self.rank, module.in_features)
        b = rows[..., part.b].view(*rows.shape[:-1], module.out_features, self.rank)
        return a, b

    @property
    def drawn(self) -> int:
        """Numbers of a row that are drawn at random for a new adapter: those of the As."""
        return min(part.b.start for part in self.parts.values())

    def initial(self, spec: LoraSpec, seed: int) -> Tensor:
        """PEFT's initial values of a new adapter's As, ``[drawn]`` on the CPU: uniform in ±1/√in
        (Kaiming, a = √5).

        The Bs are zero. They are drawn from ``seed`` alone, module by module in the model's order,
        each ``[rank, in]`` at the adapter's own rank, so the values do not depend on the bank it is
        in. Safe to call from several threads.
        """
        generator = torch.Generator().manual_seed(seed)
        on_gpu = self.values.device.type == "cuda"
        # Page-locked memory on a GPU machine: only from there is a copy truly in the background.
        row = torch.empty(self.drawn, pin_memory=on_gpu)  # float32, whatever is computed in
        for name, module in self.modules.items():
            a = row[self.parts[name].a].view(self.rank, module.in_features)
            # A module the spec does not adapt draws nothing, so its company does not shift the
            # numbers.
            rank = spec.rank if adapts(spec, name) else 0
            if rank:
                bound = 1 / math.sqrt(module.in_features)
                a[:rank].uniform_(-bound, bound, generator=generator)
            # Above the adapter's own rank: zero, and zero they stay (see the module).
            a[rank:].zero_()
        return row

    def begin(self, k: int, spec: LoraSpec, initial: Tensor) -> None:
        """Make row k a new adapter of this kind with these `initial` values, ``[drawn]``."""
        self.specs[k] = spec
        self.scale[k] = spec.scale
        # The Bs are zero, so a new adapter starts as the base (Hu et al. 2021, section 4.1).
        self.values[k, : self.drawn].copy_(initial, non_blocking=True)
        self.values[k, self.drawn :].zero_()
        if self.computed is not self.values:
            self.computed[k].copy_(self.values[k])

    def initialise(self, k: int, seed: int) -> None:
        """Give adapter k its `initial` values."""
        self.begin(k, self.specs[k], self.initial(self.specs[k], seed))

    def put(self, k: int, adapter: Adapter) -> None:
        """Load a trained adapter into row k."""
        self.specs[k] = adapter.spec
        self.scale[k] = adapter.spec.scale
        self.values[k].zero_()
        # A module too many cannot be dropped silently: the adapter would answer otherwise than
        # trained.
        missing = sorted(set(adapter.tensors) - set(self.slots))
        if missing:
            fix = "use the model the adapter was trained on"
            raise UsageError(f"the model has no module {missing[0]}", where=adapter.base, fix=fix)
        if self._is_row(adapter):
            parts = [
                adapter.tensors[name][half].flatten() for half in (0, 1) for name in self.modules
            ]
            self.values[k].copy_(torch.cat(parts))  # one copy for hundreds
            if self.computed is not self.values:
                self.computed[k].copy_(self.values[k])
            return
        for name, (a, b) in adapter.tensors.items():
            into_a, into_b = self.matrices(name, self.values[k])
            if a.shape[1] != into_a.shape[1] or b.shape[0] != into_b.shape[0]:
                shapes = (
                    f"{b.shape[0]}×{a.shape[1]}, the model's {into_b.shape[0]}×{into_a.shape[1]}"
                )
                what = f"the adapter's {name} is {shapes}"
                raise UsageError(
                    what, where=adapter.base, fix="use the model the adapter was trained on"
                )
            # Narrower adapters fill the first ranks, what is above them is zero from before.
            into_a[: a.shape[0]].copy_(a)
            into_b[:, : a.shape[0]].copy_(b)
        if self.computed is not self.values:
            self.computed[k].copy_(self.values[k])

    def _is_row(self, adapter: Adapter) -> bool:
        """Whether an adapter's matrices end to end are a row: all modules, at the bank's rank and
        the model's sizes.
        """
        return adapter.tensors.keys() == self.modules.keys() and all(
            adapter.tensors[name][0].shape == (self.rank, module.in_features)
            and adapter.tensors[name][1].shape == (module.out_features, self.rank)
            for name, module in self.modules.items()
        )

    def clear(self, k: int) -> None:
        """Make row k an adapter that adds nothing."""
        self.values[k].zero_()
        self.computed[k].zero_()

    def take(self, k: int, *, on_device: bool = False) -> dict[str, tuple[Tensor, Tensor]]:
        """A copy of adapter k's matrices at its own rank in the values' dtype, on the CPU unless
        told otherwise.
        """
        spec, row = self.specs[k], self.values[k].detach()
        # One copy of the whole row: hundreds of small ones would each wait for the device.
        row = row.clone() if on_device or row.device.type == "cpu" else row.cpu()
        matrices = {}
        for name in self.modules:
            if adapts(spec, name):
                a, b = self.matrices(name, row)
                # clone: a slice would keep the whole row alive.
                matrices[name] = (a[: spec.rank].clone(), b[:, : spec.rank].clone())
        return matrices

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Make the model's linear modules add this bank's adapters."""
        for name, slot in self.slots.items():
            self.modules[name].slot = slot
        try:
            yield
        # Also after an error: a model that keeps a dead bank would answer with it.
        finally:
            for module in self.modules.values():
                module.slot = None

    def assign(self, route: Route | None) -> None:
        """Say which packed tokens go through which adapter from now on; None means through none."""
        for slot in self.slots.values():
            slot.route = route

    def draw_dropout(self, owners: Sequence[tuple[int, int, torch.Generator]], total: int) -> None:
        """Draw this step's dropout masks: (adapter, tokens, its own generator) in packed order,
        ``total`` tokens.

        A generator is drawn from for its adapter's own modules only, so the masks do not depend on
        the company.
        """
        any_dropout = any(self.specs[k].dropout for k, _, _ in owners)
        for name, slot in self.slots.items():
            slot.dropout = self._mask(name, slot, owners, total) if any_dropout else None

    def _mask(
        self,
        name: str,
        slot: BankSlot,
        owners: Sequence[tuple[int, int, torch.Generator]],
        total: int,
    ) -> Tensor:
        weight = self.modules[name].weight
        mask = torch.ones(total, slot.a.shape[-1], device=weight.device, dtype=weight.dtype)
        # [T, in]; rows without dropout stay 1.
        start = 0
        for k, count, generator in owners:
            keep = 1 - self.specs[k].dropout
            if keep < 1 and adapts(self.specs[k], name):
                # Drawn on the CPU: there a seed gives the same mask whatever the device.
                kept = torch.empty(count, slot.a.shape[-1]).bernoulli_(keep, generator=generator)
                # Divided by what is kept, so that the expectation is the input's (inverted
                # dropout).
                mask[start : start + count].copy_(kept).div_(keep)
            start += count
        return mask


def leaf(name: str) -> str:
    """The last part of a module's name: ``q_proj``."""
    return name.rsplit(".", 1)[-1]


def layer_of(name: str) -> int | None:
    """The decoder layer in a module's name (``model.layers.3.mlp.up_proj``: 3); None where it is in
    none.
    """
    return next((int(part) for part in name.split(".") if part.isdecimal()), None)


def adapts(spec: LoraSpec, name: str) -> bool:
    """Whether an adapter of this kind has matrices for the module of this name."""
    return leaf(name) in spec.targets and (spec.layers is None or layer_of(name) in spec.layers)


def _padded_rank(rank: int, weight: Tensor) -> int:
    """Grouped products on a GPU want rows of whole 16 bytes."""
    # Up to the next multiple of 8, with the ceiling written as a negated floor.
    return rank if weight.device.type == "cpu" else -(-rank // 8) * 8


def _check_layers(specs: Sequence[LoraSpec], modules: Iterable[str]) -> None:
    layers = {layer for name in modules if (layer := layer_of(name)) is not None}
    unknown = {layer for spec in specs for layer in spec.layers or ()} - layers
    if unknown:
        what = (
            f"the model has no layer {min(unknown)}: its layers are 0 to {max(layers, default=0)}"
        )
        raise UsageError(what, where="lora.layers", fix="name layers that it has")


def _check_targets(
    targets: set[str], matched: dict[str, BankLinear], modules: dict[str, BankLinear]
) -> None:
    missing = targets - {name.rsplit(".", 1)[-1] for name in matched}
    if missing:
        known = sorted({name.rsplit(".", 1)[-1] for name in modules})
        what = f"the model has no linear module named {', '.join(sorted(missing))}"
        raise UsageError(what, where="lora.targets", fix=f"choose among {', '.join(known)}")


def install(model: nn.Module) -> None:
    """Make every linear module of the decoder layers a `BankLinear`, in place; the output head
    stays as it is.
    """
    # The head is not adapted: it runs over the tokens that carry loss only (`selfedit.lm.loss`).
    head = getattr(model, "get_output_embeddings", lambda: None)()
    for name, module in list(model.named_modules()):
        # Exactly nn.Linear: a subclass (a quantised one, say) computes something else.
        if type(module) is nn.Linear and module is not head:
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, BankLinear.wrap(module))
