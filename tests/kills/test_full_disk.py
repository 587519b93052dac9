"""A disk without room for an adapter, or that fails, under every kind of run: a message and exit
code 4; with room again it goes on and ends as a run that always had it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import SafetensorError
from scenarios import content, make_material, scenarios

from selfedit.cli import main
from small_disk import largest_file

pytestmark = pytest.mark.slow
NAMES = ("train", "adapt", "library", "continual")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    make_material(folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_no_room_for_an_adapter(material, tmp_path, capsys, name):
    """Adapters are made larger than everything else that a run writes."""
    words = [word.replace("lora.rank=2", "lora.rank=1024") for word in scenarios(material)[name]]
    words = [*words, f"--out={tmp_path / 'run'}"]
    with largest_file(500_000):
        assert main(words) == 4
    told = capsys.readouterr().err
    assert "no room left on the disk" in told and "Traceback" not in told
    assert not list(tmp_path.rglob(".selfedit-*"))
    assert main(words) == 0
    resumed = content(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "first")
    assert main(words) == 0
    assert content(tmp_path / "run") == resumed


@pytest.mark.parametrize(
    ("number", "told"), [(5, "input/output error"), (30, "read-only"), (28, "no room left")]
)
def test_a_disk_that_fails_under_an_adapter(material, tmp_path, capsys, monkeypatch, number, told):
    def save(*_: object, **__: object) -> None:
        raise SafetensorError(f"I/O error: what the system says (os error {number})")

    monkeypatch.setattr("selfedit.lm.lora.save_file", save)
    assert main([*scenarios(material)["adapt"], f"--out={tmp_path / 'run'}"]) == 4
    assert told in capsys.readouterr().err
    monkeypatch.undo()
    assert main([*scenarios(material)["adapt"], f"--out={tmp_path / 'run'}"]) == 0
