"""``selfedit view`` as it is typed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from selfedit.run.folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with RunFolder.open(tmp_path / "run", {"model": "m"}, kind="knowledge"):
        return tmp_path


@pytest.mark.server
def test_the_address_lets_in_and_ctrl_c_ends_it(folder: Path) -> None:
    command = [sys.executable, "-m", "selfedit", "view", str(folder), "--port", "0"]
    environ = {name: value for name, value in os.environ.items() if name != "SELFEDIT_TOKEN"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    )
    try:
        assert process.stdout is not None
        address, _, token = process.stdout.readline().strip().partition("#token=")
        assert len(token) >= 32  # another one each time
        asked = urllib.request.Request(f"{address}api/runs")
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.urlopen(asked)
        refused.value.close()
        asked.add_header("Authorization", f"Bearer {token}")
        run = urllib.request.urlopen(asked).read().decode().partition('"id": "')[2][:12]
        # A page that listens does not hold it up.
        stream = urllib.request.Request(f"{address}api/events?run={run}", headers=asked.headers)
        with urllib.request.urlopen(stream) as events:
            assert events.readline().startswith(b"data: ")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130 and out == ""
    assert "stopped as you asked" in err and "Traceback" not in err and token not in err


def test_what_is_wrong_is_said_first(
    run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", folder / "run" / "config.toml"):
        done = run("view", path)
        assert done.code == 3 and "no run here to look at" in done.err
    assert "no such folder" in run("view", tmp_path / "missing").err
    assert run("view", folder, "--token", "NO_SUCH_VARIABLE").code == 2
    assert run("view", folder, "--port", "-1").code == 2
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("view", folder, "--port", taken.getsockname()[1])
        assert done.code == 4 and "in use" in done.err
    monkeypatch.setattr("selfedit.cli.serve.find_spec", lambda name: None)
    done = run("view", folder)
    assert done.code == 4 and "selfedit[serve]" in done.err
