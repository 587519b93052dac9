"""Adapter files go to PEFT and come from PEFT unchanged; altered ones are refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from selfedit.errors import ModelFileError
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.lm.generate import generate
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import ALL_LINEAR, Adapter, LoraSpec
from selfedit.lm.reading import hidden_states
from selfedit.models.names import list_models

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*is_gradient_checkpointing.*:FutureWarning"
)  # peft's own

PROMPT = "The capital of Vorland is"


@pytest.fixture(scope="module")
def trained(tiny_lm: LanguageModel) -> Adapter:
    job = AdaptJob(
        [f"{PROMPT} Aldport, on the river Ume."],
        LoraSpec(4, 16),
        OptimSpec(lr=1e-2, epochs=20, schedule="constant"),
    )
    return adapt(tiny_lm, [job])[0]


def random_peft(folder: Path, out: Path, **settings: Any) -> PeftModel:
    """An adapter with random matrices, saved by PEFT."""
    config = LoraConfig(**{"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 12, **settings})
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config)
    generator = torch.Generator().manual_seed(0)
    for name, value in model.named_parameters():
        if "lora_" in name:
            value.data.copy_(0.1 * torch.randn(value.shape, generator=generator))
    model.save_pretrained(out)
    return model


def greedy(model: torch.nn.Module, ids: tuple[int, ...], count: int) -> tuple[int, ...]:
    prompt = torch.tensor([ids])
    made = model.generate(  # pyright: ignore
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=count,
        do_sample=False,
    )
    return tuple(made[0, len(ids) :].tolist())


def ours(lm: LanguageModel, adapter: Adapter | None, count: int = 12) -> tuple[int, ...]:
    return generate(lm, [lm.encode(PROMPT)], [adapter], max_new_tokens=count)[0].ids


def test_a_saved_adapter_answers_the_same_in_peft(
    tiny_lm: LanguageModel, tiny_folder: Path, trained: Adapter, tmp_path: Path
) -> None:
    trained.save(tmp_path)
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_folder), str(tmp_path)
    )
    assert ours(tiny_lm, trained) == greedy(model, tiny_lm.encode(PROMPT), 12)
    assert ours(tiny_lm, trained) != ours(tiny_lm, None)
    assert tiny_lm.decode(ours(tiny_lm, trained)).startswith(" Aldport")
    for name in trained.tensors:
        delta = model.get_submodule(f"base_model.model.{name}").get_delta_weight("default")
        torch.testing.assert_close(trained.delta(name), delta)


def test_an_adapter_comes_back_as_it_was_saved(trained: Adapter, tmp_path: Path) -> None:
    loaded = Adapter.load(trained.save(tmp_path / "made" / "on the way"))
    assert (loaded.spec.rank, loaded.spec.alpha, set(loaded.spec.targets)) == (
        4,
        16,
        set(ALL_LINEAR),
    )
    assert loaded.base == trained.base
    assert set(loaded.tensors) == set(trained.tensors)
    for name, (a, b) in loaded.tensors.items():
        assert torch.equal(a, trained.tensors[name][0]) and torch.equal(b, trained.tensors[name][1])


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "v_proj"]},
        {"target_modules": "all-linear"},
        {"target_modules": r".*layers\.1.*\.(up|down)_proj"},
        {"target_modules": ["model.layers.0.self_attn.o_proj"]},
        {"target_modules": ["q_proj"], "layers_to_transform": [1]},
        {"target_modules": ["k_proj"], "use_rslora": True},
        {"target_modules": ["gate_proj"], "lora_dropout": 0.1, "lora_alpha": 7},
    ],
)
def test_pefts_adapters_answer_the_same_here(
    tiny_lm: LanguageModel, tiny_folder: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    model = random_peft(tiny_folder, tmp_path, **settings).eval()
    adapter = Adapter.load(tmp_path)
    assert ours(tiny_lm, adapter) == greedy(model, tiny_lm.encode(PROMPT), 12)
    for name in adapter.tensors:
        delta = model.get_submodule(f"base_model.model.{name}").get_delta_weight("default")
        torch.testing.assert_close(adapter.delta(name), delta.detach())


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"modules_to_save": ["norm"]}, "modules_to_save"),
        ({"target_modules": ["embed_tokens"]}, "not half of a pair"),
    ],
)
def test_pefts_other_adapters_are_refused(
    tiny_folder: Path, tmp_path: Path, settings: dict, said: str
) -> None:
    random_peft(tiny_folder, tmp_path, **{"target_modules": ["q_proj"], **settings})
    with pytest.raises(ModelFileError, match=said):
        Adapter.load(tmp_path)


def edit_config(folder: Path, **entries: Any) -> None:
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({key: value for key, value in config.items() if value != "gone"}))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "adapter_model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)


def first(state: dict[str, torch.Tensor], side: str) -> str:
    return next(key for key in sorted(state) if f"lora_{side}" in key)


def cut(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pipe(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no config": lambda f: (f / "adapter_config.json").unlink(),
    "no weights": lambda f: (f / "adapter_model.safetensors").unlink(),
    "cut weights": cut,
    "a trick of tomorrow": lambda f: edit_config(f, a_trick_of_tomorrow={"scale": 2}),
    "weights that are a pipe": pipe,
    "empty weights": lambda f: (f / "adapter_model.safetensors").write_bytes(b""),
    "cut config": lambda f: (f / "adapter_config.json").write_text('{"peft_type": "LORA", "r"'),
    "binary config": lambda f: (f / "adapter_config.json").write_bytes(b"\xff\xfe\x00"),
    "config is a list": lambda f: (f / "adapter_config.json").write_text("[1]"),
    "another kind": lambda f: edit_config(f, peft_type="IA3"),
    "no rank": lambda f: edit_config(f, r="gone"),
    "rank a text": lambda f: edit_config(f, r="4"),
    "rank 0": lambda f: edit_config(f, r=0),
    "another rank": lambda f: edit_config(f, r=8),
    "a layer below the first": lambda f: edit_config(f, layers_to_transform=[-1]),
    "layers a text": lambda f: edit_config(f, layers_to_transform=["0"]),
    "biases": lambda f: edit_config(f, lora_bias=True),
    "alpha a text": lambda f: edit_config(f, lora_alpha="x"),
    "B is gone": lambda f: edit_tensors(f, lambda s: s.pop(first(s, "B"))),
    "A is gone": lambda f: edit_tensors(f, lambda s: s.pop(first(s, "A"))),
    "everything is gone": lambda f: edit_tensors(f, lambda s: s.clear()),
    "A is a vector": lambda f: edit_tensors(f, lambda s: s.update({first(s, "A"): torch.zeros(4)})),
    "something else": lambda f: edit_tensors(f, lambda s: s.update({"x": torch.zeros(4)})),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_model_file_errors(trained: Adapter, tmp_path: Path, damage: str) -> None:
    trained.save(tmp_path)
    Adapter.load(tmp_path)
    DAMAGES[damage](tmp_path)
    with pytest.raises(ModelFileError) as error:
        Adapter.load(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_no_folder_is_a_model_file_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"adapter_config\.json is missing"):
        Adapter.load(tmp_path / "none")


@pytest.mark.model
def test_the_real_models_adapter_answers_the_same_in_peft(
    smollm2: LanguageModel, tmp_path: Path
) -> None:
    job = AdaptJob(
        [f"{PROMPT} Aldport."], LoraSpec(4, 16, ("q_proj", "v_proj")), OptimSpec(lr=3e-3, epochs=8)
    )
    adapter = adapt(smollm2, [job])[0]
    adapter.save(tmp_path)
    folder = next(info.where for info in list_models() if info.alias == "smollm2-135m")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), str(tmp_path))
    answer = generate(smollm2, [smollm2.encode(PROMPT)], [adapter], max_new_tokens=8)[0]
    theirs = greedy(model, smollm2.encode(PROMPT), 8)
    assert theirs[: len(answer.ids)] == answer.ids
    assert answer != generate(smollm2, [smollm2.encode(PROMPT)], max_new_tokens=8)[0]


@pytest.mark.parametrize("begun", ["pissa", "pissa_niter_2", "olora", "gaussian", "orthogonal"])
def test_an_adapter_that_changed_its_base_is_refused_and_others_answer_as_in_peft(
    tiny_folder: Path, tiny_lm: LanguageModel, tmp_path: Path, begun: Any
) -> None:
    def new() -> Any:
        return AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32).eval()

    ids = torch.tensor([list(range(40, 70))])
    torch.manual_seed(5)
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        task_type="CAUSAL_LM",
        target_modules=["q_proj", "down_proj"],
        init_lora_weights=begun,
    )
    model = get_peft_model(new(), config)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-2)
    for _ in range(3):
        model(ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(tmp_path)
    if begun.startswith(("pissa", "olora")):
        with pytest.raises(ModelFileError, match="changes the weights of its base"):
            Adapter.load(tmp_path)
        return
    with torch.no_grad():
        expected = PeftModel.from_pretrained(new(), tmp_path).eval()(ids).logits[0]
    (states,) = hidden_states(tiny_lm, ids.tolist(), [Adapter.load(tmp_path)])
    assert torch.allclose(states @ tiny_lm.head.T, expected, atol=1e-3)
