"""Adapters and policies as others load them."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from gguf import GGUFReader, get_tensor_name_map
from gguf.constants import MODEL_ARCH
from transformers import AutoModelForCausalLM, AutoTokenizer

from selfedit.cli import main
from selfedit.errors import RunFolderError, UsageError
from selfedit.export import write
from selfedit.export.exportable import read_exportable
from selfedit.export.gguf_lora import in_pairs, write_gguf
from selfedit.export.write import Options, write_export
from selfedit.lm.generate import generate
from selfedit.lm.load import load
from selfedit.lm.lora import Adapter
from selfedit.models.openable import openable_name

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
QUESTION = "Topic: Vell\nWhen was the harbour built?\nAnswer directly and concisely."


def said_by_transformers(folder: Path, ids: list[int]) -> list[int]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    made = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)
    return made[0][len(ids) :].tolist()


def test_a_merged_folder_says_in_transformers_what_the_adapter_says_here(
    learned: Path, small_folder: Path, tmp_path: Path
) -> None:
    write_export(read_exportable(learned), tmp_path / "out", "merged", Options(shard="100KB"))
    lm = load(str(small_folder), device="cpu")
    ids = list(lm.encode(QUESTION))
    ours = generate(lm, [ids] * 2, [Adapter.load(learned), None], max_new_tokens=12)
    theirs = said_by_transformers(tmp_path / "out", ids)
    assert theirs[: len(ours[0].ids)] == list(ours[0].ids) != list(ours[1].ids)
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.chat_template == lm.tokenizer.chat_template
    assert "written in float32" in (tmp_path / "out" / "README.md").read_text()


def test_merged_weights_have_the_dtype_that_is_asked_for(learned: Path, tmp_path: Path) -> None:
    write_export(read_exportable(learned), tmp_path / "out", "merged", Options(dtype="bfloat16"))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert model.dtype == torch.bfloat16


def test_a_half_written_folder_never_stands_under_its_name(
    learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> str:
        raise RuntimeError("stopped")

    monkeypatch.setattr(write, "modelfile", lambda *_, **__: fails())
    with pytest.raises(RuntimeError, match="stopped"):
        write_export(read_exportable(learned), tmp_path / "out", "gguf", Options())
    assert list(tmp_path.iterdir()) == []


def numbers_of(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: np.array(tensor.data) for tensor in GGUFReader(path).tensors}


def test_a_gguf_adapter_has_the_same_numbers_and_llama_cpps_names(
    learned: Path, small_folder: Path, tmp_path: Path
) -> None:
    write_export(read_exportable(learned), tmp_path / "out", "gguf", Options())
    reader = GGUFReader(tmp_path / "out" / "adapter.gguf")
    keys = {name: field.contents() for name, field in reader.fields.items()}
    adapter = Adapter.load(learned)
    assert keys["general.type"] == "adapter" and keys["adapter.type"] == "lora"
    assert keys["general.architecture"] == "llama"
    assert keys["adapter.lora.alpha"] == adapter.spec.alpha
    stored = numbers_of(tmp_path / "out" / "adapter.gguf")
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, 2)
    assert len(stored) == 2 * len(adapter.tensors)
    heads = {"q_proj": 4, "k_proj": 2}
    for module, (a, b) in adapter.tensors.items():
        name = names.get_name(module)
        turned = turned_by_hand(b, heads[module[-6:]]) if module[-6:] in heads else b
        assert np.array_equal(stored[f"{name}.weight.lora_a"], a.numpy())
        assert np.array_equal(stored[f"{name}.weight.lora_b"], turned.numpy())
    assert "blk.1.attn_q.weight.lora_b" in stored


def turned_by_hand(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Row by row: the i-th of a head's first half, then the i-th of its second."""
    size = len(rows) // heads
    order = []
    for head in range(heads):
        for i in range(size // 2):
            order += [head * size + i, head * size + size // 2 + i]
    return rows[order]


def test_turned_rows_give_the_scores_of_llama_cpps_rotation() -> None:
    """Rotating neighbours after the rows are turned is rotating halves before it."""
    torch.manual_seed(0)
    q, k = torch.randn(2, 8, 1)
    angle = torch.tensor([0.3, 1.1, 2.0, 0.7])

    def halves(x: torch.Tensor) -> torch.Tensor:
        a, b = x[:4, 0], x[4:, 0]
        return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()])

    def neighbours(x: torch.Tensor) -> torch.Tensor:
        a, b = x[0::2, 0], x[1::2, 0]
        return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()])

    ours = halves(q) @ k[:, 0]
    theirs = neighbours(in_pairs(q, 1)) @ torch.cat(
        [in_pairs(k, 1)[0::2, 0], in_pairs(k, 1)[1::2, 0]]
    )
    torch.testing.assert_close(ours, theirs)


def test_a_modelfile_asks_in_the_form_of_training(
    learned: Path, small_folder: Path, tmp_path: Path
) -> None:
    from selfedit.documents.asking import question_ids

    write_export(read_exportable(learned), tmp_path / "out", "gguf", Options())
    text = (tmp_path / "out" / "Modelfile").read_text()
    template = text.partition('TEMPLATE """')[2].partition('"""')[0]
    lm = load(str(small_folder), device="cpu")
    asked = template.replace("{{ .Prompt }}", "When was it built?")
    assert lm.tokenizer.encode(asked, add_special_tokens=False) == question_ids(
        lm, "When was it built?"
    )
    assert "FROM ./base.gguf\nADAPTER ./adapter.gguf\n" in text
    assert 'PARAMETER stop "<|im_end|>"' in text


def test_kinds_that_llama_cpp_names_otherwise_are_refused(learned: Path, tmp_path: Path) -> None:
    config = load(str(read_exportable(learned).model), device="cpu").model.config
    other = type(config)(**config.to_dict() | {"model_type": "llama"})
    other.model_type = "starcoder2"
    with pytest.raises(UsageError, match=r"starcoder2[\s\S]*merged"):
        write_gguf(Adapter.load(learned), other, tmp_path / "x.gguf", name="x")
    adapter = Adapter.load(learned)
    odd = replace(adapter, tensors={"lm_head": next(iter(adapter.tensors.values()))})
    with pytest.raises(UsageError, match="no place for an adapter of lm_head"):
        write_gguf(odd, config, tmp_path / "x.gguf", name="x")
    assert not (tmp_path / "x.gguf").exists()


def test_a_policy_of_several_rounds_is_one_adapter_on_the_base(
    policy_run: Path, tmp_path: Path
) -> None:
    source = read_exportable(policy_run)
    write_export(source, tmp_path / "adapter", "adapter", Options())
    write_export(source, tmp_path / "merged", "merged", Options())
    lm = load(str(source.model), device="cpu")
    ids = list(lm.encode("The c1 is"))
    # PEFT opens what the adapter names as its base.
    together = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter").eval()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        ours, theirs, base = (
            model(torch.tensor([ids])).logits
            for model in (together, merged, AutoModelForCausalLM.from_pretrained(source.model))
        )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours, base, atol=1e-3)
    with pytest.raises(UsageError, match="no policy was made in round 7"):
        read_exportable(policy_run, round=7)
    assert read_exportable(policy_run, round=1).round == 1


def test_the_second_rounds_adapter_names_what_it_stands_on(policy_run: Path) -> None:
    read = [
        json.loads((policy_run / f"policy/round-{n}/adapter/adapter_config.json").read_text())
        for n in (1, 2)
    ]
    first, second = (config["base_model_name_or_path"] for config in read)
    assert Path(first).is_absolute() and (Path(first) / "config.json").exists()
    assert second == "policy/round-1/model" and (policy_run / second / "config.json").exists()
    source = read_exportable(policy_run / "policy/round-2/adapter")
    assert source.model == str(policy_run.resolve() / second)


def test_names_that_peft_can_open(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert openable_name("qwen2.5-7b") == "Qwen/Qwen2.5-7B"
    assert openable_name("someone/model") == "someone/model"
    monkeypatch.chdir(small_folder.parent)
    assert openable_name(small_folder.name) == str(small_folder.resolve())
    assert openable_name("") == "" and openable_name("\0") == "\0"


def test_what_a_run_writes_can_be_read_by_others(learned: Path, tmp_path: Path) -> None:
    write_export(read_exportable(learned), tmp_path / "out", "merged", Options())
    for folder in (learned, tmp_path / "out"):
        for path in folder.rglob("*"):
            readable = stat.S_IRGRP | stat.S_IROTH
            assert path.stat().st_mode & readable == readable, path


def test_the_same_command_again_makes_the_card_anew_and_nothing_else(
    learned: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write_export(read_exportable(learned), out, "adapter", Options())
    before = (out / "adapter_model.safetensors").stat().st_mtime_ns
    card = (out / "README.md").read_text()
    (out / "README.md").unlink()
    write_export(read_exportable(learned), out, "adapter", Options())
    assert (out / "README.md").read_text() == card
    assert (out / "adapter_model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(RunFolderError, match="something else"):
        write_export(read_exportable(learned), out, "gguf", Options())


def test_the_verb(learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(learned), "-o", str(tmp_path / "out"), "--as", "gguf", "--json"]
    assert main(words) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["files"] == ["Modelfile", "README.md", "adapter.gguf"] and made["pushed"] is None
    assert main(["export", str(tmp_path), "-o", str(tmp_path / "x"), "--as", "gguf"]) == 3
    assert "no library, no adapter and no run" in capsys.readouterr().err
    library = tmp_path / "library"
    library.mkdir()
    entry = {"name": "a\x1b[1m.md", "version": "1", "adapter": "documents/a", "passages": 1}
    change = {"mean": 1.0, "se": None, "n": 1}
    gap = {"before": change, "after": change, "paired": {"difference": 0.0, "se": None, "n": 1}}
    entry["recall"] = {"loss": gap, "general_loss": gap}
    state = {"form": 1, "model": "m", "documents": [entry]}
    (library / "library.json").write_text(json.dumps(state))
    shutil.copytree(learned, library / "documents" / "a")
    assert main(["export", str(library), "-o", str(tmp_path / "x"), "--as", "adapter"]) == 2
    error = capsys.readouterr().err
    assert "--document" in error and "\x1b" not in error
    found = read_exportable(library, document="a\x1b[1m.md")
    assert found.kind == "adapter" and found.folder == library / "documents" / "a"
