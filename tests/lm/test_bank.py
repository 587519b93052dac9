"""The bank's product and gradients are each adapter's own, computed the plain way."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from selfedit.errors import UsageError
from selfedit.lm.bank import AdapterBank, install
from selfedit.lm.bank_product import BankLinear
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.lm.segments import make_segments
from tiny_llama import tiny_llama


class Two(nn.Module):
    """Two linear modules, one with a bias."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.up = nn.Linear(4, 6, dtype=dtype)
            self.down = nn.Linear(6, 3, bias=False, dtype=dtype)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x).sin())


SPECS = [LoraSpec(2, 3, ("up", "down")), LoraSpec(1, 5, ("down",)), LoraSpec(3, 1, ("up",))]
OWNERS = [
    [4, 0, 9, 10, 11],
    [1, 2, 7, 8],
    [6],
]  # the first two pad to one length; rows 3 and 5 go through none


def filled(model: nn.Module, specs: list[LoraSpec]) -> AdapterBank:
    """A bank for training whose B is not zero."""
    bank = AdapterBank(model, specs, train=True)
    generator = torch.Generator().manual_seed(1)
    for k, spec in enumerate(specs):
        bank.initialise(k, seed=k)
        for name, slot in bank.slots.items():
            if name in spec.targets:
                slot.b[k, :, : spec.rank] = torch.randn(
                    slot.b.shape[1], spec.rank, generator=generator
                )
    return bank


def plain(
    model: Two, bank: AdapterBank, x: Tensor, leaves: dict[tuple[int, str], tuple[Tensor, Tensor]]
) -> Tensor:
    """Row by row: W + scale · B A of the row's own adapter."""
    out = []
    for row, value in enumerate(x):
        k = next((k for k, rows in enumerate(OWNERS) if row in rows), None)
        for name, module in (("up", model.up), ("down", model.down)):
            value = value.sin() if name == "down" else value
            weight = module.weight
            mask = bank.slots[name].dropout
            seen = value if mask is None else value * mask[row]
            update = torch.zeros(())
            if k is not None and (k, name) in leaves:
                a, b = leaves[k, name]
                update = bank.specs[k].scale * (b @ (a @ seen))
            value = weight @ value + (module.bias if module.bias is not None else 0) + update
        out.append(value)
    return torch.stack(out)


@pytest.mark.parametrize("dropout", [False, True])
def test_product_and_gradients_are_the_plain_ones(dropout: bool) -> None:
    model = Two(torch.float64)
    install(model)
    bank = filled(model, SPECS)
    if dropout:
        for slot in bank.slots.values():
            slot.dropout = (
                torch.rand(12, slot.a.shape[-1], generator=torch.Generator().manual_seed(2))
                .double()
                .round()
            )
    leaves = {
        (k, name): (a.clone().requires_grad_(), b.clone().requires_grad_())
        for k in range(3)
        for name, (a, b) in bank.take(k).items()
    }
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    with bank.attached():
        bank.assign(make_segments(OWNERS, dtype=torch.float64, total=12))
        y = model(ours)
        y.sin().sum().backward()
    expected = plain(model, bank, theirs, leaves)
    expected.sin().sum().backward()
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)
    for (k, name), (a, b) in leaves.items():
        rank, slot = bank.specs[k].rank, bank.slots[name]
        torch.testing.assert_close(slot.grad_a[k, :rank], a.grad)
        torch.testing.assert_close(slot.grad_b[k, :, :rank], b.grad)
        assert not slot.grad_a[k, rank:].any() and not slot.grad_b[k, :, rank:].any()
    assert not bank.slots["up"].grad_a[1].any() and not bank.slots["down"].grad_b[2].any()


def test_without_a_bank_the_modules_are_the_plain_ones() -> None:
    model, wrapped = Two(torch.float32), Two(torch.float32)
    weight = wrapped.up.weight.data_ptr()
    install(wrapped)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert wrapped.up.weight.data_ptr() == weight
    assert torch.equal(model(x), wrapped(x))
    bank = filled(wrapped, SPECS)
    with bank.attached():
        bank.assign(None)
        assert torch.equal(model(x), wrapped(x))
        bank.assign(make_segments([[], [], []], total=5))
        assert torch.equal(model(x), wrapped(x))
        bank.assign(make_segments([[0, 1], [], [2]], total=5))
        assert not torch.equal(model(x)[:3], wrapped(x)[:3])
        torch.testing.assert_close(model(x)[3:], wrapped(x)[3:])
    assert torch.equal(model(x), wrapped(x))


def test_a_bank_is_let_go_when_the_work_inside_fails() -> None:
    model = Two(torch.float32)
    install(model)
    bank = filled(model, SPECS)
    with pytest.raises(ZeroDivisionError), bank.attached():
        _ = 1 / 0
    assert all(module.slot is None for module in bank.modules.values())


def test_the_output_head_is_not_a_target() -> None:
    model = tiny_llama(50)
    install(model)
    kinds = {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if isinstance(module, BankLinear)
    }
    assert kinds == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    with pytest.raises(UsageError, match="lm_head"):
        AdapterBank(model, [LoraSpec(2, targets=("lm_head",))])


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_initial_values_are_the_seeds_own_and_distributed_as_pefts() -> None:
    model = tiny_llama(50)
    install(model)
    spec = LoraSpec(16, targets=("q_proj", "down_proj"))
    company = AdapterBank(model, [LoraSpec(32), spec, spec], train=True)
    for k, seed in enumerate((1, 7, 8)):
        company.initialise(k, seed)
    alone = AdapterBank(model, [spec])
    alone.initialise(0, 7)
    other = company.take(2)
    theirs = get_peft_model(
        tiny_llama(50), LoraConfig(r=16, target_modules=["q_proj", "down_proj"])
    )
    for name, (a, b) in alone.take(0).items():
        assert torch.equal(a, company.take(1)[name][0])
        assert not torch.equal(a, other[name][0])
        assert not b.any()
        peft = theirs.get_submodule(f"base_model.model.{name}").lora_A["default"].weight.detach()
        assert float(a.abs().max()) == pytest.approx(float(peft.abs().max()), rel=0.03)
        assert float(a.std()) == pytest.approx(float(peft.std()), rel=0.1)


def test_an_adapter_put_in_is_the_one_taken_out() -> None:
    model = Two(torch.float32)
    install(model)
    tensors = filled(model, SPECS).take(0)
    bank = filled(model, [SPECS[2], SPECS[0]])
    bank.put(1, Adapter(SPECS[0], tensors))
    for name, (a, b) in bank.take(1).items():
        assert torch.equal(a, tensors[name][0]) and torch.equal(b, tensors[name][1])
    assert torch.equal(bank.take(0)["up"][0], filled(model, [SPECS[2]]).take(0)["up"][0])


def test_another_models_adapter_is_refused() -> None:
    model = Two(torch.float32)
    install(model)
    bank = AdapterBank(model, SPECS)
    a, b = torch.zeros(1, 4), torch.zeros(6, 1)
    with pytest.raises(UsageError, match=r"no module layers\.0\.up"):
        bank.put(0, Adapter(SPECS[0], {"layers.0.up": (a, b)}))
    with pytest.raises(UsageError, match="6×5, the model's 6×4"):
        bank.put(0, Adapter(SPECS[0], {"up": (torch.zeros(1, 5), b)}))


def test_dropout_keeps_its_share_and_is_gone_with_its_job() -> None:
    model = Two(torch.float32)
    install(model)
    bank = AdapterBank(
        model,
        [LoraSpec(1, targets=("up",), dropout=0.25), LoraSpec(1, targets=("down",))],
        train=True,
    )
    bank.draw_dropout(
        [(0, 5000, torch.Generator().manual_seed(0)), (1, 3, torch.Generator())], 5003
    )
    mask = bank.slots["up"].dropout
    assert mask is not None
    assert mask[:5000].unique().tolist() == pytest.approx([0, 4 / 3])
    assert float((mask[:5000] > 0).float().mean()) == pytest.approx(
        0.75, abs=0.015
    )  # 5 standard errors
    assert bool((mask[5000:] == 1).all())
    bank.draw_dropout([(1, 3, torch.Generator())], 3)
    assert all(slot.dropout is None for slot in bank.slots.values())
