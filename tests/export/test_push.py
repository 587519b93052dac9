"""An export onto a hub, by the hub's own client against a small one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import small_hub
from huggingface_hub import constants
from small_hub import TOKEN, SmallHub

from selfedit.cli import main
from selfedit.export.write import MADE_OF

pytestmark = pytest.mark.server
NAME = "me/handbook"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with small_hub.running() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        # Chunks go to a store of its own otherwise, which speaks another protocol.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def words(learned: Path, out: Path, *more: str) -> list[str]:
    base = ["--base", "HuggingFaceTB/SmolLM2-135M-Instruct"]
    return ["export", str(learned), "-o", str(out), "--as", "adapter", *base, *more]


def test_the_listed_files_go_up_and_nothing_else(
    hub: SmallHub, learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(words(learned, out, "--push", NAME, "--dry-run")) == 0
    listed = capsys.readouterr().out
    assert hub.calls == [] and "adapter_model.safetensors" in listed
    # What has come to lie there meanwhile stays here.
    assert main(words(learned, out, "--push", NAME)) == 0
    shown = capsys.readouterr()
    names = {"README.md", "adapter_config.json", "adapter_model.safetensors", "selfedit.json"}
    assert set(hub.repositories[NAME]) == names
    assert all(hub.repositories[NAME][name] == (out / name).read_bytes() for name in names)
    assert (out / MADE_OF).exists() and hub.visibility[NAME] == "private"
    assert f"{hub.address}/{NAME}/commit/abc" in shown.out
    everything = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert TOKEN not in shown.out + shown.err and not any(TOKEN.encode() in x for x in everything)
    # No path of this machine among what was sent.
    assert not any(str(learned.parent).encode() in data for data in hub.repositories[NAME].values())


def test_a_repository_that_is_there_and_a_public_one(
    hub: SmallHub, learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(words(learned, out, "--push", NAME, "--public")) == 0
    assert hub.visibility[NAME] == "public"
    assert main(words(learned, out, "--push", NAME)) == 4
    error = capsys.readouterr().err
    assert "409" in error and "--existing" in error and "where:" in error
    assert main(words(learned, out, "--push", NAME, "--existing")) == 0


@pytest.mark.parametrize(
    ("token", "fails", "said"),
    [("hf_anotherone123456", "", "hf auth login"), (TOKEN, "batch", "can be reached")],
)
def test_a_hub_that_refuses(
    hub: SmallHub, learned: Path, tmp_path: Path, monkeypatch, capsys, token, fails, said
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    hub.fails = fails
    assert main(words(learned, tmp_path / "out", "--push", NAME)) == 4
    error = capsys.readouterr().err
    assert said in error and "to fix:" in error and token not in error
    assert not hub.repositories.get(NAME)


def test_no_network_and_names_that_are_none(
    learned: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert main(words(learned, tmp_path / "out", "--push", NAME)) == 4
    assert "http://127.0.0.1:9 can be reached" in capsys.readouterr().err
    assert main(words(learned, tmp_path / "no", "--push", "no/such/name")) == 2
    plain = ["export", str(learned), "-o", str(tmp_path / "no"), "--as", "gguf", "--push", NAME]
    assert main(plain) == 2 and "--base owner/name" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_the_hubs_own_variables_are_honoured(learned: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\ntags: [a]\n---\n")
    program = (
        "import sys; from pathlib import Path; from selfedit.export.push import push;"
        "print(push(Path(sys.argv[1]), [Path(sys.argv[1]) / 'README.md'], 'me/x', private=True,"
        " existing=False))"
    )
    with small_hub.running() as hub:
        settings = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            check=False, env=os.environ | settings, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert set(hub.repositories["me/x"]) == {"README.md"} and hub.address in done.stdout
