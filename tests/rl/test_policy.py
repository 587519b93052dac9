"""What a round makes of the policy: merged weights, saved and loaded."""

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.lm.attention import Packed
from selfedit.lm.generate import generate
from selfedit.lm.load import load
from selfedit.lm.lora import LoraSpec
from selfedit.lm.segments import consecutive, make_segments
from selfedit.lm.weights import load_weights
from selfedit.rl.policy import keep_policy, merge, save_policy
from selfedit.storage.files import hash_folder
from tiny_run import LORA, session_in, tiny_settings

# peft asks transformers for a property by its former name.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)

TEXT = "A mountain in Verra is tall and old"


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0]


def our_logits(lm, ids):
    plan = Packed(make_segments(consecutive([len(ids)]), lm.device, lm.dtype))
    with torch.no_grad():
        return lm.hidden(ids, list(range(len(ids))), plan) @ lm.head.T


def weights(lm):
    return {name: value.clone() for name, value in lm.model.named_parameters()}


@pytest.fixture
def lm(tiny_folder):
    return load(str(tiny_folder), device="cpu")


@pytest.fixture
def adapter(lm):
    job = AdaptJob(
        [TEXT, "Another line"],
        LoraSpec(**LORA | {"targets": ("q_proj", "down_proj")}),
        OptimSpec(lr=0.05),
    )
    return adapt(lm, [job])[0]


def test_merging_is_adding_the_update(lm, adapter):
    before = weights(lm)
    prompt = list(lm.encode(TEXT))
    attached = generate(lm, [prompt], [adapter], max_new_tokens=8)[0]
    plain = generate(lm, [prompt], max_new_tokens=8)[0]
    merge(lm, adapter)
    for name, value in lm.model.named_parameters():
        module = name.removesuffix(".weight")
        if module in adapter.tensors:
            assert not torch.equal(value, before[name])
            torch.testing.assert_close(value, before[name] + adapter.delta(module))
        else:
            assert torch.equal(value, before[name])
    assert generate(lm, [prompt], max_new_tokens=8)[0] == attached != plain


def test_a_merged_model_answers_as_peft_with_the_adapter(lm, adapter, tiny_folder, tmp_path):
    adapter.save(tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)
    with_adapter = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    merge(lm, adapter)
    ids = list(lm.encode(TEXT))
    torch.testing.assert_close(our_logits(lm, ids), logits(with_adapter, ids), rtol=1e-4, atol=1e-4)


def test_saved_weights_load_back_bit_for_bit(lm, adapter, tiny_folder, tmp_path):
    merge(lm, adapter)
    digest = save_policy(lm, adapter, tmp_path / "round-1", merged=True)
    assert digest == hash_folder(tmp_path / "round-1")
    other = load(str(tiny_folder), device="cpu")
    assert any(
        not torch.equal(a, b)
        for a, b in zip(weights(lm).values(), weights(other).values(), strict=True)
    )
    load_weights(other, tmp_path / "round-1" / "model")
    assert weights(other).keys() == weights(lm).keys()
    for name, value in weights(lm).items():
        assert torch.equal(weights(other)[name], value), name
    ids = lm.encode(TEXT)
    assert generate(other, [ids], max_new_tokens=8) == generate(lm, [ids], max_new_tokens=8)
    assert save_policy(other, adapter, tmp_path / "again", merged=True) == digest


def test_a_merged_policy_is_a_model_of_its_own(lm, adapter, tmp_path):
    merge(lm, adapter)
    save_policy(lm, adapter, tmp_path / "round-1", merged=True)
    folder = tmp_path / "round-1" / "model"
    ids = list(lm.encode(TEXT))
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    torch.testing.assert_close(logits(plain, ids), our_logits(lm, ids))
    assert AutoTokenizer.from_pretrained(folder).chat_template == lm.tokenizer.chat_template
    ours = load(str(folder), device="cpu")
    assert generate(ours, [TEXT], max_new_tokens=8) == generate(lm, [TEXT], max_new_tokens=8)
    assert ours.eos_ids == lm.eos_ids and ours.pad_id == lm.pad_id


def test_an_unmerged_policy_is_its_adapter_alone(lm, adapter, tiny_folder, tmp_path):
    save_policy(lm, adapter, tmp_path / "round-1", merged=False)
    assert [path.name for path in (tmp_path / "round-1").iterdir()] == ["adapter"]
    base = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)
    ids = list(lm.encode(TEXT))
    with_adapter = PeftModel.from_pretrained(base, str(tmp_path / "round-1" / "adapter")).eval()
    merge(lm, adapter)
    torch.testing.assert_close(logits(with_adapter, ids), our_logits(lm, ids), rtol=1e-4, atol=1e-4)


def small_update(lm):
    """An adapter whose update is far below the weights, as that of a round of finetuning is."""
    job = AdaptJob([TEXT, "Another line"], LoraSpec(**LORA), OptimSpec(lr=2e-4, epochs=2))
    return adapt(lm, [job])[0]


def test_a_merge_says_what_the_weights_precision_rounded_away(tiny_folder):
    """In float32 next to nothing, in bfloat16 a good part; the figure is that of the weights."""
    exact = load(str(tiny_folder), device="cpu", dtype="float32")
    assert merge(exact, small_update(exact)) < 1e-3
    coarse = load(str(tiny_folder), device="cpu", dtype="bfloat16")
    update, before = small_update(coarse), weights(coarse)
    rounded = merge(coarse, update)
    lost = whole = 0.0
    for name, value in weights(coarse).items():
        module = name.removesuffix(".weight")
        if module in update.tensors:
            change = update.delta(module)
            lost += float((value.float() - before[name].float() - change).square().sum())
            whole += float(change.square().sum())
    assert rounded == pytest.approx((lost / whole) ** 0.5, rel=1e-3)
    assert rounded > 0.2


@pytest.mark.parametrize(
    ("dtype", "chosen", "merged"),
    [
        ("float32", "auto", True),
        ("bfloat16", "auto", False),
        ("float32", False, False),
        ("bfloat16", True, True),
    ],
)
def test_auto_merges_where_nothing_is_rounded_away(
    tiny_folder, tmp_path, caplog, dtype, chosen, merged
):
    lm = load(str(tiny_folder), device="cpu", dtype=dtype)
    session = session_in(tmp_path / "run", lm, tiny_settings(rl__mstep__merge=chosen))
    digest = keep_policy(session, 1, small_update(lm))
    folder = session.run.policy(1)
    session.run.close()
    assert digest == hash_folder(folder)
    assert (folder / "adapter").is_dir() and (folder / "model").exists() is merged
    assert ("rounded" in caplog.text) is (dtype == "bfloat16" and merged)
