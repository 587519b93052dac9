"""A loaded model is the one in its folder, frozen; one that cannot be read is explained, and no
code in it is run.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from selfedit.errors import ModelFileError, Unavailable, UsageError
from selfedit.lm.attention import Packed
from selfedit.lm.load import LanguageModel, chat_prompt, load
from selfedit.lm.segments import consecutive, make_segments
from selfedit.lm.weights import weights_fingerprint
from selfedit.models import manifest
from selfedit.models.names import model_path


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model's folder, to damage."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_it_computes_what_transformers_computes(tiny_lm: LanguageModel, tiny_folder: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder, attn_implementation="eager").eval()
    ids = tiny_lm.tokenizer("one two three").input_ids
    plan = Packed(make_segments(consecutive([len(ids)]), tiny_lm.device, tiny_lm.dtype))
    with torch.no_grad():
        logits = tiny_lm.hidden(ids, range(len(ids)), plan) @ tiny_lm.head.T  # [T, V]
        torch.testing.assert_close(logits, plain(torch.tensor([ids])).logits[0])


def test_one_that_memory_has_no_room_for_is_refused_before_it_is_read(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what it takes, what there is, and what would fit."""
    size = sum(path.stat().st_size for path in tiny_folder.glob("*.safetensors"))
    monkeypatch.setattr("selfedit.lm.kinds.memory_bytes", lambda device: (size * 3 // 4, 0))
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail())
    with pytest.raises(Unavailable, match=r"billion weights take 0\.0 GiB in float32") as caught:
        load(str(tiny_folder), device="cpu", dtype="float32")
    assert caught.value.fix is not None and 'dtype = "bfloat16"' in caught.value.fix
    monkeypatch.setattr("selfedit.lm.kinds.memory_bytes", lambda device: (size // 4, size))
    with pytest.raises(Unavailable) as caught:
        load(str(tiny_folder), device="cpu", dtype="float32")
    assert caught.value.fix is not None and "dtype" not in caught.value.fix


def test_it_is_frozen_and_in_evaluation_mode(tiny_lm: LanguageModel) -> None:
    assert not tiny_lm.model.training
    assert not any(parameter.requires_grad for parameter in tiny_lm.model.parameters())
    assert (tiny_lm.device, tiny_lm.dtype) == (torch.device("cpu"), torch.float32)
    assert {parameter.dtype for parameter in tiny_lm.model.parameters()} == {torch.float32}
    assert (tiny_lm.eos_ids, tiny_lm.pad_id, tiny_lm.has_chat) == (frozenset({2}), 2, True)


def test_the_dtype_is_the_callers(folder: Path) -> None:
    lm = load(str(folder), device="cpu", dtype="bfloat16")
    assert lm.dtype == lm.model.dtype == torch.bfloat16


@pytest.mark.parametrize(
    "wrong", [{"device": "abacus"}, {"device": "cuda:99"}, {"dtype": "float3"}]
)
def test_a_wrong_device_or_dtype_is_a_usage_error(tiny_folder: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        load(str(tiny_folder), **wrong)  # pyright: ignore[reportArgumentType]
    assert next(iter(wrong.values())) in caught.value.what


def test_loading_says_nothing_and_leaves_every_setting(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # A wrong generation flag makes transformers warn, a bar is drawn for the weights.
    change_json(folder / "generation_config.json", temperature=0.5, do_sample=False)
    logging.enable_progress_bar()
    before = logging.get_verbosity(), logging.is_progress_bar_enabled(), list(warnings.filters)
    load(str(folder), device="cpu")
    assert (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        list(warnings.filters),
    ) == before
    assert capfd.readouterr() == ("", "")


def test_every_token_that_ends_an_answer_is_known(folder: Path) -> None:
    change_json(folder / "generation_config.json", eos_token_id=[0, 5])
    assert load(str(folder), device="cpu").eos_ids == {0, 5, 2}


def test_a_chats_end_of_turn_ends_an_answer_too(folder: Path) -> None:
    """As in base models that carry a chat template: their end of text is another token."""
    change_json(folder / "tokenizer_config.json", eos_token="<|endoftext|>")
    change_json(folder / "generation_config.json", eos_token_id=0)
    assert load(str(folder), device="cpu").eos_ids == {0, 2}


def test_without_a_chat_template_there_is_no_chat(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    assert not load(str(folder), device="cpu").has_chat


def test_the_fingerprint_is_the_weights_own(folder: Path, tiny_lm: LanguageModel) -> None:
    assert weights_fingerprint(folder) == tiny_lm.fingerprint
    manifest.write(folder, "test")
    assert weights_fingerprint(folder) == tiny_lm.fingerprint
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] += 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / manifest.NAME).unlink()
    assert weights_fingerprint(folder) != tiny_lm.fingerprint


def cut_short(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 100_000)


def no_config(folder: Path) -> None:
    (folder / "config.json").write_text("{half")


def unknown_kind(folder: Path) -> None:
    change_json(folder / "config.json", model_type="abacus", architectures=["Abacus"])


def no_language_model(folder: Path) -> None:
    change_json(folder / "config.json", model_type="vit", architectures=["ViTModel"])


def a_tensor_less(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def another_shape(folder: Path) -> None:
    change_json(folder / "config.json", intermediate_size=32)


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')


@pytest.mark.parametrize(
    "damage",
    [
        cut_short,
        no_config,
        unknown_kind,
        no_language_model,
        a_tensor_less,
        another_shape,
        no_tokenizer,
        broken_tokenizer,
    ],
)
def test_files_that_cannot_be_read_are_one_kind_of_error(folder: Path, damage) -> None:
    damage(folder)
    with pytest.raises(ModelFileError) as caught:
        load(str(folder), device="cpu")
    assert str(folder) in (caught.value.where or "")
    assert caught.value.fix


def test_a_lacking_tensor_is_named(folder: Path) -> None:
    a_tensor_less(folder)
    with pytest.raises(
        ModelFileError,
        match=r"lack 1 of the model's tensors, model\.layers\.1\.mlp\.up_proj\.weight",
    ):
        load(str(folder), device="cpu")


def test_no_code_from_the_folder_is_run(folder: Path, tmp_path: Path) -> None:
    code = (
        f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom transformers import LlamaForCausalLM as Own,"
        " LlamaConfig as Conf\n"
    )
    (folder / "own.py").write_text(code)
    change_json(
        folder / "config.json",
        auto_map={"AutoConfig": "own.Conf", "AutoModelForCausalLM": "own.Own"},
    )
    load(str(folder), device="cpu")  # transformers' own Llama is taken
    change_json(folder / "config.json", model_type="own")
    with pytest.raises(ModelFileError):
        load(str(folder), device="cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.model
def test_the_real_model_knows_what_it_should(smollm2: LanguageModel) -> None:
    tokenizer = smollm2.tokenizer
    assert (tokenizer.eos_token, smollm2.eos_ids, smollm2.pad_id) == (
        "<|im_end|>",
        frozenset({2}),
        2,
    )
    ids = chat_prompt(smollm2, "What is the capital of France?")
    assert (
        tokenizer.decode(ids)
        == "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging"
        " Face<|im_end|>\n<|im_start|>user\nWhat is the capital of"
        " France?<|im_end|>\n<|im_start|>assistant\n"
    )
    plain = AutoModelForCausalLM.from_pretrained(model_path("smollm2-135m"))
    answer = plain.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)  # pyright: ignore
    assert tokenizer.decode(answer[0, len(ids) :]) == "The capital of France is Paris.<|im_end|>"


@pytest.mark.model
def test_the_real_tokenizer_is_smollm2s(smollm2: LanguageModel) -> None:
    """Digits one by one, no space put in front: as the published tokenizer.json has it."""
    tokens = smollm2.tokenizer.convert_ids_to_tokens(smollm2.tokenizer("In  1984, x=10").input_ids)
    assert tokens == ["In", "ĠĠ", "1", "9", "8", "4", ",", "Ġx", "=", "1", "0"]
