import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
from importlib import metadata

import psutil
import pytest

from selfedit.run.environment import environment, git_state


def git(folder, *arguments):
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True
    )


def test_names_what_can_change_a_number():
    record = environment({"train": "ab12"})
    assert record["selfedit"] == metadata.version("selfedit")
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["packages"]["torch"] == metadata.version("torch")
    assert record["packages"]["transformers"] == metadata.version("transformers")
    assert record["hardware"]["cores"]["logical"] == os.cpu_count()
    assert record["hardware"]["memory_gib"] == pytest.approx(
        psutil.virtual_memory().total / 2**30, abs=0.1
    )
    assert record["data"] == {"train": "ab12"}
    assert json.loads(json.dumps(record)) == record


def test_names_nobody_and_no_place():
    """In a process with a telling home, user and variables: none of them may be in the record."""
    telling = {
        "HOME": "/home/zebra-home",
        "USER": "zebra-user",
        "LOGNAME": "zebra-user",
        "ZEBRA_KEY": "zebra-key",
    }
    program = (
        "import json; from selfedit.run.environment import environment;"
        "data = {'/home/zebra-home/train.json': 'ab', '~/x/dev.json': 'cd', 'data/own.json': 'ef'};"
        "print(json.dumps(environment(data)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **telling},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "zebra" not in done.stdout
    record = json.loads(done.stdout)
    assert record["data"] == {"train.json": "ab", "dev.json": "cd", "data/own.json": "ef"}
    words = {word for value in _texts(record) for word in value.replace("/", " ").split()}
    assert not words & {socket.gethostname(), getpass.getuser()}


def _texts(value):
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def test_does_not_load_torch():
    program = (
        "import sys; from selfedit.run.environment import environment; record = environment({});"
        "print('torch' in sys.modules, record['threads'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False None\n"


def test_threads_of_a_loaded_torch():
    import torch

    assert environment({})["threads"]["intra_op"] == torch.get_num_threads()


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_the_checkouts_revision_and_whether_it_is_changed(tmp_path, monkeypatch):
    assert git_state(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) is None  # nothing committed yet
    (tmp_path / "config.toml").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    state = git_state(tmp_path)
    assert state is not None and len(state["revision"]) == 40 and state["dirty"] is False
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "ledger.sqlite").write_text("x")
    assert git_state(tmp_path / "run") == state  # a run's own output makes nothing dirty
    (tmp_path / "config.toml").write_text("a = 2\n")
    assert git_state(tmp_path) == {**state, "dirty": True}
    monkeypatch.chdir(tmp_path)
    assert environment({})["git"]["project"] == {**state, "dirty": True}


def test_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    record = environment({})
    assert record["git"] == {"project": None, "selfedit": None}
    assert record["hardware"]["gpus"] == []
