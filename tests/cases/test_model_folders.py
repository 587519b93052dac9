# ruff: noqa: E501 - one hostile folder a line
"""Model folders that nobody vouches for: read right, or one error of ours in time; nothing of
theirs is executed.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from selfedit.errors import ModelFileError
from selfedit.lm.chat import chat_prompt
from selfedit.lm.load import load
from selfedit.models import manifest

Change = Callable[[Path], None]


def in_json(name: str, **values: Any) -> Change:
    """Set entries of one of the folder's JSON files."""

    def change(folder: Path) -> None:
        path = folder / name
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(known | values))

    return change


def instead(name: str, content: str) -> Change:
    return lambda folder: (folder / name).write_text(content) and None


def template(text: str) -> Change:
    return instead("chat_template.jinja", text)


def weights(change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    def changed(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        name = "model.layers.0.self_attn.q_proj.weight"
        save_file(
            tensors | {name: change(tensors[name])},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )

    return changed


def more_weights(name: str, *shape: int) -> Change:
    """A tensor that the model of the settings has no place for."""

    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        save_file(load_file(path) | {name: torch.ones(shape)}, path, metadata={"format": "pt"})

    return change


def pipe(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def endless(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to("/dev/zero")

    return change


def in_tokenizer(*keys: str, value: Any) -> Change:
    """Set an entry of ``tokenizer.json``."""

    def change(folder: Path) -> None:
        path = folder / "tokenizer.json"
        whole = part = json.loads(path.read_text())
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value
        path.write_text(json.dumps(whole))

    return change


ENDS_THE_PROCESS = {
    "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "a", "end_of_word_suffix": None,
    "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
    "vocab": {"a": 0, "é": 1, "aé": 2}, "merges": [["a", "é"]],
}  # fmt: skip
NOTHING = {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}


def quantised(method: str) -> Change:
    return in_json(
        "config.json", quantization_config={"quant_method": method, "bits": 4, "load_in_4bit": True}
    )


HOSTILE: dict[str, Change] = {
    **{
        f"{key}={value!r}": in_json("config.json", **{key: value})
        for key, value in (
            ("hidden_size", -1),
            ("hidden_size", 10**30),
            ("intermediate_size", 1.5),
            ("layer_types", 5),
            ("num_attention_heads", 0),
            ("num_attention_heads", 7),
            ("num_hidden_layers", 10**7),
            ("num_hidden_layers", "two"),
            ("num_hidden_layers", 250),
            ("rms_norm_eps", "nan"),
            ("rms_norm_eps", float("nan")),
            ("vocab_size", 10**12),
            ("model_type", "no-such-kind"),
            ("model_type", 5),
            ("rope_parameters", 5),
            ("rope_parameters", {"rope_type": "linear", "factor": -1}),
            ("rope_parameters", {"rope_type": "default", "rope_theta": float("inf")}),
            ("rope_parameters", {"rope_type": "nope"}),
            ("hidden_act", "no-such-activation"),
            ("max_position_embeddings", -5),
            ("text_config", {"model_type": "llama"}),
            ("is_encoder_decoder", True),
            ("num_hidden_layers", 1),
            ("decoder_layers", 10**6),
            ("model_type", "gemma3"),
        )
    },
    **{f"quantised by {method}": quantised(method) for method in ("awq", "bitsandbytes", "gptq", "torchao", "x")},
    "settings that are a list": instead("config.json", "[]"),
    "settings nested": instead("config.json", "[" * 5000 + "]" * 5000),
    "tokenizer settings that are a list": instead("tokenizer_config.json", "[]"),
    "a tokenizer that is a list": instead("tokenizer.json", "[]"),
    "a tokenizer cut short": instead("tokenizer.json", '{"version": "1.0", "model": {'),
    "generation settings of other types": instead("generation_config.json", '{"eos_token_id": "x"}'),
    "an adapter beside the model": instead("adapter_config.json", '{"peft_type": "LORA"}'),
    "an index with a number": instead("model.safetensors.index.json", '{"weight_map": {"a": 1}}'),
    "an index with a long name": instead("model.safetensors.index.json", '{"weight_map": {"a": "%s"}}' % ("x" * 300)),
    "an index that leads outside": instead(
        "model.safetensors.index.json", '{"weight_map": {"a": "../model.safetensors"}}'
    ),
    "a list of files of other types": instead("selfedit-manifest.json", '{"source": "x", "files": {"a": {"size": "2"}}}'),
    "weights that are no numbers": weights(lambda tensor: torch.full_like(tensor, float("nan"))),
    "weights that are infinite": weights(lambda tensor: torch.full_like(tensor, float("inf"))),
    "whole numbers as weights": weights(lambda tensor: tensor.to(torch.int8)),
    "weights of another shape": weights(lambda tensor: tensor[:1].clone()),
    "weights cut short": lambda folder: (folder / "model.safetensors").write_bytes(
        (folder / "model.safetensors").read_bytes()[:5000]
    ) and None,
    "a template of two loops": template("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
    "a template that divides by zero": template("{{ 1 / 0 }}"),
    "a template that includes a file": template("{% include '/etc/passwd' %}"),
    "a template that imports a file": template("{% import '/etc/passwd' as x %}"),
    "a template that multiplies": template("{{ 'a' * 10**12 }}"),
    "weights with a bias more": more_weights("model.layers.0.self_attn.q_proj.bias", 64),
    "weights with a head's bias": more_weights("lm_head.bias", 8),
    "weights with an adapter among them": more_weights("model.layers.0.self_attn.q_proj.lora_A.weight", 2, 64),
    "weights that are a pipe": pipe("model.safetensors"),
    "a tokenizer that never ends": endless("tokenizer.json"),
    "a tokenizer that draws by lot": in_tokenizer("model", "dropout", value=0.5),
    # The library that reads it cuts the merges' letters in two, and ends the whole process.
    "a tokenizer that ends the process": in_tokenizer("model", value=ENDS_THE_PROCESS),
    "a tokenizer without tokens": in_tokenizer("post_processor", value=NOTHING),
    "a tokenizer that writes a book": in_tokenizer("normalizer", value={"type": "Prepend", "prepend": "x" * 99_999}),
    "an unknown token that is nothing": in_json("tokenizer_config.json", unk_token=""),
    "a template that leaves out the question": template("{{ messages[99] }}"),
    "a template of parts": template("{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"),
    "a template that calls itself": template("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
    "a template of two types": template("{{ 1 + 'a' }}"),
    "a template that refuses everything": template("{{ raise_exception('no') }}"),
    "a template that is none": template("{% for %}"),
    "a template that looks about": template("{{ ''.__class__.__mro__ }}"),
    "a template of megabytes": template("x" * 2_000_000),
}  # fmt: skip


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_folder_ends_in_one_error(folder: Path, change: Change) -> None:
    change(folder)
    started = time.process_time()
    with pytest.raises(ModelFileError):
        load(str(folder))
    assert time.process_time() - started < 5


@pytest.mark.parametrize("name", [".", "sub", "pipe"])
def test_a_list_of_files_names_what_is_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    os.mkfifo(tmp_path / "pipe")
    entry = {"size": (tmp_path / name).stat().st_size, "mtime_ns": 1, "sha256": "0"}
    (tmp_path / manifest.NAME).write_text(json.dumps({"source": "x", "files": {name: entry}}))
    with pytest.raises(ModelFileError, match="no regular file"):
        manifest.check(tmp_path, fix="x")


@pytest.mark.parametrize(
    "entry",
    [
        {"_attn_implementation": "eager"},
        {"attn_implementation": "kernels-community/flash-attn"},
        {"_attn_implementation_internal": "kernels-community/flash-attn"},
        {"_experts_implementation": "kernels-community/moe"},
        {"dtype": "nope"},
        {"torch_dtype": "float16"},
        {"auto_map": {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}},
        {"use_kernels": True},
        {"num_labels": 10**8},
        {"id2label": {"x": 1}, "label2id": 5},
        {"return_dict": False, "output_attentions": True},
    ],
)
def test_a_folder_does_not_choose_for_us(
    folder: Path, entry: dict[str, Any], tiny_folder: Path
) -> None:
    (folder / "evil.py").write_text("raise SystemExit('executed')")
    in_json("config.json", **entry)(folder)
    lm, expected = load(str(folder)), load(str(tiny_folder))
    assert lm.model.config._attn_implementation == "selfedit" and lm.dtype == torch.float32
    assert chat_prompt(lm, "Who?") == chat_prompt(expected, "Who?")
    for ours, theirs in zip(lm.model.parameters(), expected.model.parameters(), strict=True):
        assert ours.dtype == torch.float32 and torch.equal(ours, theirs)


def test_a_tokenizer_with_more_ids_than_rows(folder: Path) -> None:
    lm = load(str(folder))
    lm.tokenizer.add_tokens(["<one-more>"])
    lm.tokenizer.save_pretrained(folder)
    with pytest.raises(ModelFileError, match=r"no row for.*<one-more>"):
        load(str(folder))


def test_an_empty_system_message_is_none(folder: Path) -> None:
    template(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    )(folder)
    lm = load(str(folder))
    assert chat_prompt(lm, "Who?", "") == chat_prompt(lm, "Who?")


def test_named_templates_without_a_default_are_one_message(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    named = [
        {"name": name, "template": "{{ messages[0].content }}"} for name in ("rag", "tool_use")
    ]
    in_json("tokenizer_config.json", chat_template=named)(folder)
    with pytest.raises(ModelFileError, match="template"):
        load(str(folder))


def test_a_pattern_that_takes_for_ever_ends_in_one_error(folder: Path) -> None:
    """Read well at loading, it fails at a text of later."""
    split = {
        "type": "Split",
        "pattern": {"Regex": "(a+)+$"},
        "behavior": "Isolated",
        "invert": False,
    }
    in_tokenizer("pre_tokenizer", value=split)(folder)
    lm = load(str(folder))
    with pytest.raises(ModelFileError, match="cannot cut this text"):
        lm.encode("a" * 40 + "!")
