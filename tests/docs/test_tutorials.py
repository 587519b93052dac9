"""Every block of the tutorials runs: files are written, commands typed, Python executed, on a small
random model in place of the real one.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from docs_blocks import Block, blocks
from selfedit.cli import main

TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
SMALLER = {
    "adapt": [
        "--inner.lora.rank=2",
        "--inner.optim.epochs=1",
        "--edit.max-new-tokens=12",
        "--answer.max-new-tokens=4",
        "--retention.pseudorehearsal.texts=2",
        "--retention.pseudorehearsal.tokens=4",
        "--documents.known=2",
        "--quiet",
    ],
    "ask": ["--max-new-tokens=4", "--quiet"],
    "train": ["--quiet"],
}
"""What a test adds to a verb, for its time alone."""
MODEL, PORT = "smollm2-135m", "8600"


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("page", sorted(TUTORIALS.glob("*.md")), ids=lambda page: page.stem)
def test_every_block_of_a_tutorial_runs(
    page: Path, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, object] = {}
    found = blocks(page)
    serving = [block for block in found if "selfedit serve" in block.text]
    ran = 0
    with _served(serving, small_folder) as port:
        for block in found:
            text = block.text.replace(MODEL, str(small_folder)).replace(PORT, port)
            block = block._replace(text=text)
            if block.title:
                _write(block)
            elif block.language == "bash":
                ran += _type(block)
            elif block.language == "python":
                exec(compile(text, page.name, "exec"), names)
                ran += 1
    assert ran >= 2


def _write(block: Block) -> None:
    file = Path(block.title)
    file.parent.mkdir(exist_ok=True)
    file.write_text(block.text, encoding="utf-8")


def _type(block: Block) -> int:
    """Type the block's commands; an endpoint is started by its first use and not here."""
    typed = 0
    for words in block.commands():
        assert words[0] == "selfedit", f"a test cannot type {words}"
        if words[1] == "serve":
            _Endpoint.begin()
            continue
        assert main([*words[1:], *SMALLER.get(words[1], [])]) == 0, words
        typed += 1
    return typed


class _Endpoint:
    """The endpoint of a page, in a process of its own: it is ended by Ctrl-C."""

    command: list[str] | None = None
    process: subprocess.Popen[str] | None = None

    @classmethod
    def begin(cls) -> None:
        assert cls.command is not None
        cls.process = subprocess.Popen(cls.command, stdout=subprocess.PIPE, text=True)
        assert cls.process.stdout is not None
        assert "http://127.0.0.1" in cls.process.stdout.readline()


@contextmanager
def _served(serving: list[Block], model: Path) -> Iterator[str]:
    """A free port for the page's endpoint, which is ended with the page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for block in serving:
        words = next(block.commands())
        given = [port if word == PORT else word for word in words[1:]]
        _Endpoint.command = [sys.executable, "-m", "selfedit", *given, "--quiet"]
    try:
        yield port
    finally:
        if process := _Endpoint.process:
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(60) == 130 and process.stdout is not None
            process.stdout.close()
            _Endpoint.process = None
