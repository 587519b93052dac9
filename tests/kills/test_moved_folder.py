"""A run's folder that is moved away while a command works in it: an error, and nothing of a run
where it was.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from scenarios import make_material, scenarios

from selfedit.cli import main
from selfedit.run.interrupt import Interrupt

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    make_material(folder)
    return folder


@pytest.mark.parametrize("name", ["train", "adapt", "library", "continual"])
@pytest.mark.parametrize("checks", [1, 4])
def test_the_command_ends_in_an_error(material, tmp_path, capsys, monkeypatch, name, checks):
    left, folder = [checks], tmp_path / "run"

    def check(_: Interrupt) -> None:
        left[0] -= 1
        if left[0] == 0:
            folder.rename(tmp_path / "elsewhere")

    monkeypatch.setattr(Interrupt, "check", check)
    words = [*scenarios(material)[name], f"--out={folder}"]
    assert main(words) == 3
    told = capsys.readouterr().err
    assert "moved, removed or emptied" in told and "results:" not in told
    assert not [path for path in folder.rglob("*") if path.is_file()]
    monkeypatch.undo()
    (tmp_path / "elsewhere").rename(folder)
    assert main(words) == 0
