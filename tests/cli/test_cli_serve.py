"""``selfedit serve`` and ``selfedit chat`` as they are typed."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from selfedit.cli import serve as serve_verb
from selfedit.config import read_settings
from selfedit.documents.shelf import Shelf
from selfedit.documents.upkeep import adapt_library

TOKEN = "correct-horse-battery"
TEXTS = {
    "vell.md": "# Vell\nThe harbour of Vell was built in 1412 by Orda Mirane.\n",
    "tarn.md": "# Tarn\nTarn is a lake with nine islands and no fish.\n",
}


@pytest.fixture(scope="module")
def library(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    documents, out = tmp_path_factory.mktemp("documents"), tmp_path_factory.mktemp("out") / "lib"
    for name, text in TEXTS.items():
        (documents / name).write_text(text)
    changed = {"model": str(small_folder), "device": "cpu", "inner.optim.epochs": 1}
    settings = read_settings(overrides=changed | {"inner.lora.rank": 2})
    adapt_library(out, [documents], settings, samples=0)
    return out


@contextmanager
def server(library: Path, *words: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own; its first line is its address."""
    command = [sys.executable, "-m", "selfedit", "serve", str(library), "--port", "0", *words]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environ
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.server
def test_it_answers_until_it_is_asked_to_stop(library: Path, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text(f"{TOKEN}\n")
    with server(library, "--token", f"@{secret}", "--device", "cpu") as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        stranger = OpenAI(base_url=address, api_key="wrong-token", max_retries=0)
        with stranger, pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        with OpenAI(base_url=address, api_key=TOKEN, max_retries=0) as client:
            question = [{"role": "user", "content": "Who built the harbour of Vell?"}]
            reply = client.chat.completions.create(
                model="auto",
                messages=question,
                max_tokens=4,  # pyright: ignore
            )
            assert reply.model_extra["selfedit"]["document"] == "vell.md"  # pyright: ignore
            # What runs when it is stopped is finished.
            stream = client.chat.completions.create(
                model="auto",
                messages=question,
                max_tokens=60,
                stream=True,  # pyright: ignore
            )
            pieces = iter(stream)
            next(pieces)
            process.send_signal(signal.SIGTERM)
            finishes = [chunk.choices[0].finish_reason for chunk in pieces]
            assert finishes[-1] in ("length", "stop")
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == ""
    assert "finishing what runs" in err and "stopped as you asked" in err
    assert TOKEN not in err and "Traceback" not in err


def test_what_is_wrong_is_said_before_a_model_is_loaded(
    run, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_verb, "open_service", lambda *_, **__: pytest.fail("it was loaded"))
    monkeypatch.delenv("SELFEDIT_TOKEN", raising=False)
    done = run("serve", library, "--host", "0.0.0.0")
    assert done.code == 2 and "no token" in done.err
    done = run("serve", library, "--token", "typed-by-mistake-secret")
    assert done.code == 2 and "typed-by-mistake" not in done.err + done.out
    monkeypatch.setenv("SHORT", "abc")
    assert run("serve", library, "--token", "SHORT").code == 2
    assert run("serve", library, "--token", f"@{tmp_path / 'missing'}").code == 2
    assert run("serve", tmp_path).code == 3
    assert run("serve", library, "--max-batch", "0").code == 2
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("serve", library, "--port", taken.getsockname()[1])
        assert done.code == 4 and "in use" in done.err
    monkeypatch.setattr(serve_verb, "find_spec", lambda name: None)
    done = run("serve", library)
    assert done.code == 4 and "selfedit[serve]" in done.err


def test_a_chat_names_what_each_answer_comes_from(
    run, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    real = Shelf._load
    monkeypatch.setattr(Shelf, "_load", lambda self, name: loads.append(name) or real(self, name))
    typed = [
        "/source", "Who built the harbour of Vell?", "And when?", "", "How is rice cooked?",
        "/from tarn.md", "Who?", "/from nowhere", "/nonsense", "/source", "/quit", "Never asked",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(typed)))
    done = run("chat", library, "--max-new-tokens", "5", "--device", "cpu")
    assert done.code == 0
    lines = [line for line in done.err.splitlines() if line]
    assert lines[0] == "nothing was asked yet"
    assert [line for line in lines if line.startswith(("from", "no document"))] == [
        "from vell.md",
        "from vell.md",  # a follow-up stays
        "no document knows this: the model's own answer",
        "from tarn.md",
        "from tarn.md",
    ]
    assert "there is no nowhere" in done.err and "/topic" in done.err
    assert loads == ["vell.md", "tarn.md"]
    assert len(done.out.strip("\n").splitlines()) >= 4


def test_a_chat_says_what_cannot_be_answered_and_goes_on(
    run, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ["Vell " * 3000, "Who built the harbour of Vell?"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(typed)))
    done = run("chat", library, "--max-new-tokens", "3", "--device", "cpu")
    assert done.code == 0 and "the model's context is 2048" in done.err
    assert "from vell.md" in done.err
