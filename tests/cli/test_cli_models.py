"""models and doctor."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from selfedit.cli import doctor, extras


def test_models_lists_as_text_and_json(run) -> None:
    listed = json.loads(run("models", "--json").out)
    assert "smollm2-135m" in [model["alias"] for model in listed]
    assert all(model["alias"] in run("models", "list").out for model in listed)


def test_models_path_prints_the_folder_and_nothing_else(run, tiny_folder: Path) -> None:
    assert run("models", "path", tiny_folder).out == f"{tiny_folder}\n"
    assert json.loads(run("models", "path", tiny_folder, "--json").out)["path"] == str(tiny_folder)


def test_models_path_needs_a_name(run) -> None:
    assert run("models", "path").code == 2


def test_an_unknown_model_is_answered_with_its_neighbours(run) -> None:
    done = run("models", "fetch", "smolm2")
    assert done.code == 2
    assert "smollm2-135m" in done.err


def test_a_folder_without_a_model(run, tmp_path: Path) -> None:
    assert run("models", "path", tmp_path).code == 3


def test_doctor_misses_the_model_and_asks_the_registry(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFEDIT_CACHE", str(tmp_path / "cache"))
    asked = []

    def no_network(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, b"", b"")

    monkeypatch.setattr(subprocess, "run", no_network)
    done = run("doctor", "--json")
    assert done.code == 4
    checks = {check["name"]: check for check in json.loads(done.out)["checks"]}
    assert checks["python"]["ok"] and checks["torch"]["ok"] and checks["cache"]["ok"]
    assert not checks["smollm2-135m"]["ok"] and "models fetch" in checks["smollm2-135m"]["fix"]
    assert not checks["package registry"]["ok"]
    assert len(asked) == 1
    assert not (tmp_path / "cache").exists()


def test_doctor_names_a_package_that_is_missing(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED", ("no-such-package",))
    monkeypatch.setattr(doctor, "_check_model", lambda: iter(()))
    done = run("doctor")
    assert done.code == 4
    assert "pip install no-such-package" in done.out


def test_doctor_names_an_extra_that_is_missing_with_its_line(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "NEEDED", ())
    monkeypatch.setattr(doctor, "_check_model", lambda: iter(()))
    monkeypatch.setattr(extras, "_is_here", lambda package: package != "uvicorn")
    done = run("doctor")
    assert done.code == 0  # an extra is no problem
    assert "absent   extra serve: without uvicorn" in done.out
    assert "pip install 'selfedit[serve]'" in done.out and "selfedit[arc]" not in done.out


def test_doctor_knows_every_extra_for_users() -> None:
    text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    stated = tomllib.loads(text)["project"]["optional-dependencies"]
    assert set(extras.EXTRAS) == set(stated) - {"dev", "docs"}
