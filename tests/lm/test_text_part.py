"""The text part of a model with images: read alone, it is the whole model's, and its adapters are
found in the whole.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForImageTextToText,
    Gemma3Config,
    Gemma3TextConfig,
    Ministral3Config,
    Mistral3Config,
    PixtralVisionConfig,
    SiglipVisionConfig,
)

import selfedit as se
from selfedit.errors import ModelFileError
from selfedit.inner.full import FullSpec, FullTraining
from selfedit.lm.reading import hidden_states
from tiny_llama import made_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
SIZES: dict[str, Any] = {
    "vocab_size": len(made_tokenizer()),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "max_position_embeddings": 256,
    "sliding_window": 5,
}
VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
IMAGE: dict[str, Any] = {"image_token_id": 383}
OF_TEXT = r"^(language_model\.model|model\.language_model)\."
IDS = [(37 * n) % 300 + 3 for n in range(23)]


def gemma3() -> Gemma3Config:
    kinds = ["sliding_attention", "full_attention"]
    return Gemma3Config(
        text_config=Gemma3TextConfig(**SIZES, layer_types=kinds, query_pre_attn_scalar=9).to_dict(),
        vision_config=SiglipVisionConfig(**VISION).to_dict(),
        mm_tokens_per_image=1,
        **IMAGE,
    )


def mistral3() -> Mistral3Config:
    return Mistral3Config(
        text_config=Ministral3Config(**SIZES, tie_word_embeddings=False).to_dict(),
        vision_config=PixtralVisionConfig(**VISION).to_dict(),
        **IMAGE,
        tie_word_embeddings=False,
    )


@pytest.fixture(scope="module", params=[gemma3, mistral3])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """The folder of a random model of text and images, and transformers' own."""
    folder = tmp_path_factory.mktemp("whole")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model: Any = AutoModelForImageTextToText.from_config(request.param())
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    made_tokenizer().save_pretrained(folder)
    theirs: Any = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return folder, theirs.eval()


def their_logits(theirs: Any) -> torch.Tensor:
    with torch.no_grad():
        return theirs(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]


def test_the_text_part_is_the_whole_models(
    whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFEDIT_CACHE", str(tmp_path / "cache"))
    folder, theirs = whole
    lm = se.load(str(folder), device="cpu", dtype="float32")
    (states,) = hidden_states(lm, [IDS])
    torch.testing.assert_close(lm.logits(states), their_logits(theirs), rtol=1e-4, atol=1e-4)
    names = [name for name, _ in lm.model.named_parameters()]
    assert not any("vision" in name for name in names)
    assert set(names) - {"lm_head.weight"} <= {name for name, _ in theirs.named_parameters()}

    text = "Ada Voss built the harbour of Verra in 1874."
    job = se.AdaptJob([text], se.LoraSpec(rank=2, targets=("q_proj", "up_proj")), seed=1)
    (adapter,) = se.adapt(lm, [job])
    with_adapter: Any = peft.PeftModel.from_pretrained(theirs, str(adapter.save(tmp_path / "a")))
    adapted = {name for name, module in theirs.named_modules() if hasattr(module, "lora_A")}
    assert adapted == set(adapter.tensors)
    (states,) = hidden_states(lm, [IDS], [se.Adapter.load(tmp_path / "a")])
    wanted = their_logits(with_adapter)
    with_adapter.unload()
    torch.testing.assert_close(lm.logits(states), wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(their_logits(theirs), wanted, atol=1e-2)


def test_what_only_a_whole_model_could_do_is_refused(whole, tmp_path: Path) -> None:
    folder, _ = whole
    with pytest.raises(se.SelfEditError, match="of several parts"):
        FullTraining(folder, [], FullSpec())
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    config = json.loads((other / "config.json").read_text())
    config["text_config"]["model_type"] = "qwen2"
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match="not one plain decoder"):
        se.load(str(other))
    config["quantization_config"] = {"quant_method": "fp8"}
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match="quantised"):
        se.load(str(other))


@pytest.mark.parametrize(
    ("text", "head"),
    [("language_model.model.", "language_model.lm_head."), ("model.language_model.", "lm_head.")],
)
def test_both_ways_to_name_the_files_tensors_are_read(
    whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, head: str
) -> None:
    monkeypatch.setenv("SELFEDIT_CACHE", str(tmp_path / "cache"))
    folder, theirs = whole
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    tensors = load_file(other / "model.safetensors")
    named = {
        re.sub(r"^(language_model\.)?lm_head\.", head, re.sub(OF_TEXT, text, name)): value
        for name, value in tensors.items()
    }
    save_file(named, other / "model.safetensors", metadata={"format": "pt"})
    assert sum(name.startswith(text) for name in named) > 10
    lm = se.load(str(other), device="cpu", dtype="float32")
    (states,) = hidden_states(lm, [IDS])
    torch.testing.assert_close(lm.logits(states), their_logits(theirs), rtol=1e-4, atol=1e-4)
